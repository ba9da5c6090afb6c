"""A machine's configuration: what it may say, what is refused, and the page that tells of it."""

import os
import re
from pathlib import Path

import pytest

from reconciler.daemon.notifications.notifications import sink_kinds
from reconciler.domain.machine.backends import BackendSettings
from reconciler.domain.machine.bandwidth import Bandwidth
from reconciler.domain.machine.facts import StorageLimits
from reconciler.domain.machine.maintenance_windows import CronWindow, Window, Windows
from reconciler.domain.machine.registries import RegistryAddress, RegistrySettings
from reconciler.domain.machine.trust import ARCHIVE, TrustedKey
from reconciler.domain.text.names import environment_of
from reconciler.manifests.machine.config import MachineConfig, config_type, parse_config, settings_of, traits_of
from reconciler.planner.plan_disk import disk_budget
from tests.manifests.test_manifest_pages import TABLE, rows
from tests.planner.world import World, desired, release, wanted

HEAD = "apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\n"
SECTIONS = [kind.section for kind in sink_kinds()]
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def read(text: str) -> MachineConfig:
    config, problems = parse_config((HEAD + text).encode(), "config.yaml", SECTIONS)
    assert problems == ()
    assert config is not None
    return config


def test_the_table_of_fields() -> None:
    schema = config_type(SECTIONS).model_json_schema(by_alias=True)
    schema["$defs"]["MachineConfig"] = schema
    text = PAGE.read_text(encoding="utf-8")
    table = "".join(f"{row}\n" for row in rows(schema, "MachineConfig"))
    current = TABLE.sub(lambda match: match[1] + table + match[2], text)
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(current, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == current, "out of date: UPDATE_GOLDEN=1 pytest tests/manifests"


def test_the_example_is_valid_and_means_what_it_says() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    config, problems = parse_config(example.encode(), "config.yaml", SECTIONS)
    assert problems == ()
    assert config is not None
    traits = traits_of(config)
    assert (traits.name, traits.labels) == ("edge-7", {"site": "berlin", "tier": "production"})
    assert traits.limits == StorageLimits(disk_quota=200 << 30, disk_reserve=20 << 30)
    assert traits.source_roots == ("/srv/models",)
    assert settings_of(config) == {
        "RECONCILER_ROOT": "/srv/reconciler",
        "RECONCILER_PATH": "manifests",
        "RECONCILER_REPO": "https://git.example.org/fleet.git",
        "RECONCILER_BRANCH": "main",
        "RECONCILER_VERIFY": "head",
        "RECONCILER_ALLOWED_SIGNERS": "/etc/reconciler/allowed_signers",
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GiB", 20 << 30), ("1.5TB", 1_500_000_000_000), ("4096", 4096), ("0", 0), ('"7 MiB"', 7 << 20)],
)
def test_sizes(text: str, size: int) -> None:
    limits = read(f"limits: {{diskReserve: {text}}}").limits
    assert limits is not None
    assert limits.disk_reserve == size


def test_registries() -> None:
    example, *_ = re.findall(r"```yaml\n(.*?)```", (PAGE.parent / "registries.md").read_text(), re.DOTALL)
    full, *_ = traits_of(read(example.partition("MachineConfig\n")[2])).registries
    assert full == RegistrySettings(
        address=RegistryAddress(origin="https://ghcr.io", repository="acme/models"),
        mirrors=(RegistryAddress(origin="http://zot.berlin.example:5000", repository="acme/models"),),
        credentials_file="/etc/reconciler/registry-login",
        ca_file="/etc/reconciler/company-ca.pem",
    )
    short = "registries: [{url: 'http://127.0.0.1:5000/models', role: both, credentials: {env: LOGIN}}]"
    assert traits_of(read(short)).registries == (
        RegistrySettings(
            address=RegistryAddress(origin="http://127.0.0.1:5000", repository="models"),
            role="both",
            credentials_variable="LOGIN",
        ),
    )
    assert traits_of(read("registries: []")).registries == ()


def test_a_password_in_an_address_is_not_shown() -> None:
    text = "registries: [{url: 'https://me:hidden@ghcr.io/acme', mirrors: ['https://me:hidden@site.example/acme']}]"
    config, problems = parse_config((HEAD + text).encode(), "config.yaml", SECTIONS)
    assert (config, len(problems)) == (None, 2)
    assert "hidden" not in "".join(str(one) + one.hint for one in problems)
    assert problems[0].field == "registries[0].url"
    assert "credentials: {file:" in problems[0].hint


_ACME = "{url: 'https://ghcr.io/acme'}"
BAD: dict[str, tuple[str, int, str, str]] = {
    "a limit by another name": ("memoryLimit: 1GiB", 3, "memoryLimit", "conversionMemory"),
    "an unknown field": ("lables: {}", 3, "lables", "labels"),
    "a relative root": ("root: state", 3, "root", "expected an absolute path, got state"),
    "a size of words": ("limits:\n  diskQuota: lots", 4, "limits.diskQuota", "a size such as 20GiB, got lots"),
    "a size below zero": ("limits: {diskQuota: -1}", 3, "limits.diskQuota", "a size such as 20GiB"),
    "a duration without a unit": ("interval: 90", 3, "interval", "a duration such as 90s"),
    "no jobs": ("jobs: 0", 3, "jobs", "a whole number of at least 1, got 0"),
    "verify misspelt": ("repository: {url: x, verify: heads}", 3, "repository.verify", "none, head"),
    "no url": ("repository: {branch: x}", 3, "repository.url", "expected a value"),
    "a flag in words": ("repository: {url: x, allowFile: yes}", 3, "repository.allowFile", "true or false"),
    "a reserved label": ("labels: {reconciler.foundry/os: linux}", 3, "labels.reconciler.foundry/os", "not below"),
    "a label that is none": ("labels:\n  a: b\n  -c: d", 5, "labels.-c", "a label's key"),
    "a value that is none": ("labels: {a: b c}", 3, "labels.a", "a label's value"),
    "a name that is none": ("name: a b", 3, "name", "expected a name of at most 63"),
    "a name of terminal's": ('name: "\\u001b[2J"', 3, "name", ""),
    "a registry without a repository": ("registries: [{url: 'https://ghcr.io'}]", 3, "registries[0].url", "repository"),
    "a readable registry": ("registries: [{url: 'http://a.example/b'}]", 3, "registries[0].url", "an https address"),
    "a registry twice": (f"registries: [{_ACME}, {_ACME}]", 3, "registries[1].url", "once, got https://ghcr.io/acme"),
    "a library of another provider": (
        "providerLibraries: {DmlExecutionProvider: /l.so}",
        3,
        "providerLibraries.DmlExecutionProvider (key)",
        "expected CUDAExecutionProvider or WebGpuExecutionProvider",
    ),
    "a library without a place": (
        "providerLibraries: {CUDAExecutionProvider: l.so}",
        3,
        "providerLibraries.CUDAExecutionProvider",
        "expected an absolute path",
    ),
    "an unknown runtime": ("runtimes: [{name: ollama}]", 3, "runtimes[0].name", "foundry-local or foundry-local-1"),
    "a runtime twice": (
        "runtimes:\n- {name: foundry-local-1}\n- {name: foundry-local-1}",
        5,
        "runtimes[1].name",
        "each kind of runtime once",
    ),
    "two runtimes on one cache": (
        "runtimes:\n- {name: foundry-local, cache: /c}\n- {name: foundry-local-1, cache: /c}",
        5,
        "runtimes[1].cache",
        "a cache of its own, got that of foundry-local",
    ),
    "packages of what comes with us": ("runtimes: [{name: foundry-local, sdk: /s}]", 3, "runtimes[0].sdk", "no sdk"),
    "a runtime and runtimes": (
        "backend: foundry-local\nruntimes: [{name: foundry-local-1}]",
        3,
        "backend",
        "either backend or runtimes, got both",
    ),
    "no such role": (
        "registries: [{url: 'https://a.example/b', role: read}]",
        3,
        "registries[0].role",
        "pull, push or",
    ),
    "two passwords": (
        "registries:\n- url: https://a.example/b\n  credentials: {file: /a, env: B}",
        5,
        "registries[0].credentials",
        "expected one of file or env, got file and env",
    ),
    "a rate without a size": ("bandwidth: {rate: fast}", 3, "bandwidth.rate", "bytes a second, at least 16KiB"),
    "a rate below all patience": (
        "bandwidth: {rate: 1kB}",
        3,
        "bandwidth.rate",
        "at least 16KiB, such as 20MB, got 1kB",
    ),
    "a day's budget of nothing": ("bandwidth: {daily: 0}", 3, "bandwidth.daily", "at least 1MiB, such as 5GiB, got 0"),
    "metered in words": ("bandwidth: {metered: yes}", 3, "bandwidth.metered", "hold or urgent, got yes"),
    "a splay of days": ("bandwidth: {splay: 48h}", 3, "bandwidth.splay", "at most 24h, got 48h"),
    "no such zone": ("timeZone: Europe/Lublana", 3, "timeZone", "a time zone that this machine knows"),
    "a zone that is a path": ("timeZone: ../../etc/passwd", 3, "timeZone", "a time zone that this machine knows"),
    "a zone that is a folder": ("timeZone: Europe", 3, "timeZone", "a time zone that this machine knows"),
    "an hour too many": ("windows: {fetch: [{start: '24:00', end: '06:00'}]}", 3, "windows.fetch[0].start", "06:30"),
    "a time without minutes": ("windows: {build: [{start: '1:00', end: '6'}]}", 3, "windows.build[0].start", "06:30"),
    "a window of no time": (
        "windows:\n  activate:\n  - {start: '06:00', end: '06:00'}",
        5,
        "windows.activate[0]",
        "another time than start, got 06:00",
    ),
    "a day by another name": (
        "windows: {fetch: [{days: [monday], start: '00:00', end: '24:00'}]}",
        3,
        "windows.fetch[0].days[0]",
        "sun, got monday",
    ),
    "a cron expression": ("windows: {fetch: ['0 22 * * *']}", 3, "windows.fetch[0]", ""),
    "a schedule of four fields": (
        "windows: {fetch: [{schedule: '0 22 * *', duration: 5h}]}",
        3,
        "windows.fetch[0].schedule",
        "a cron schedule of five fields such as 0 1 * * mon-fri, got 0 22 * *",
    ),
    "a schedule without an end": (
        "windows: {fetch: [{schedule: '0 22 * * *'}]}",
        3,
        "windows.fetch[0]",
        "one of end or duration, got none",
    ),
    "a schedule with days": (
        "windows: {fetch: [{schedule: '0 22 * * *', duration: 5h, days: [mon]}]}",
        3,
        "windows.fetch[0]",
        "no days beside a schedule, got mon",
    ),
    "a schedule and an end": (
        "windows: {fetch: [{schedule: '0 22 * * *', end: '06:00'}]}",
        3,
        "windows.fetch[0]",
        "start and end, or schedule and duration",
    ),
    "a window of a month": (
        "windows: {fetch: [{schedule: '0 22 * * *', duration: 720h}]}",
        3,
        "windows.fetch[0].duration",
        "a duration from 1m to 168h, got 720h",
    ),
    "an alias": ("labels: &a {}\nsourceRoots: *a", 3, "", ""),
    "two documents": ("---\n" + HEAD, 1, "", "expected one document of kind MachineConfig, got 2"),
}


def test_runtimes_are_served_in_their_order() -> None:
    assert traits_of(read("")).backends == ()
    assert traits_of(read("backend: foundry-local-1")).backends == (BackendSettings(name="foundry-local-1"),)
    libraries = {"CUDAExecutionProvider": "/l.so"}
    named = "providerLibraries: {CUDAExecutionProvider: /l.so}\n"
    assert traits_of(read(named)).backends == (BackendSettings(provider_libraries=libraries),)
    both = traits_of(read(named + "runtimes: [{name: foundry-local-1, cache: /c}, {name: foundry-local}]")).backends
    assert [one.provider_libraries for one in both] == [{}, libraries]
    several = "runtimes:\n- {name: foundry-local, app: shop}\n- {name: foundry-local-1, cache: /c, sdk: /s}"
    assert traits_of(read(several)).backends == (
        BackendSettings(name="foundry-local", app="shop"),
        BackendSettings(name="foundry-local-1", catalog="/c", sdk="/s"),
    )


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_with_its_place(case: str) -> None:
    text, line, field, said = BAD[case]
    config, problems = parse_config((HEAD + text).encode(), "config.yaml", SECTIONS)
    assert config is None
    assert problems[0].file == "config.yaml"
    assert problems[0].line == line
    if field:
        assert problems[0].field.replace('"', "") == field
    assert said in problems[0].message + problems[0].hint


@pytest.mark.parametrize("data", [b"", b"[]", b"just text", b"\xff\xfe", b"kind: Model", b"a: b: c"])
def test_another_document_is_no_configuration(data: bytes) -> None:
    config, problems = parse_config(data, "config.yaml", SECTIONS)
    assert config is None
    assert problems


ROOM: dict[str, tuple[int, int, StorageLimits, int, str]] = {
    "no limits": (1000, 0, StorageLimits(), 1000, "1000 B are free"),
    "a reserve": (1000, 0, StorageLimits(disk_reserve=300), 700, "limits.diskReserve (300 B of 1000 B)"),
    "a reserve above all": (1000, 0, StorageLimits(disk_reserve=3000), 0, "limits.diskReserve"),
    "a quota": (1000, 400, StorageLimits(disk_quota=600), 200, "limits.diskQuota (400 B of 600 B are used)"),
    "a quota that is used up": (1000, 700, StorageLimits(disk_quota=600), 0, "limits.diskQuota"),
    "a quota above what is free": (1000, 0, StorageLimits(disk_quota=5000), 1000, "1000 B are free"),
    "both, the reserve decides": (1000, 0, StorageLimits(disk_quota=900, disk_reserve=500), 500, "limits.diskReserve"),
    "both, the quota decides": (1000, 0, StorageLimits(disk_quota=100, disk_reserve=500), 100, "limits.diskQuota"),
}


@pytest.mark.parametrize("case", ROOM)
def test_the_limit_that_decides_is_named(case: str) -> None:
    free, used, limits, left, words = ROOM[case]
    world = World().with_observed(disk_free=free, disk_used=used, limits=limits)
    assert disk_budget(world.observed)[0] == left
    assert words in disk_budget(world.observed)[1]
    for need, held in ((left, []), (left + 1, ["DiskInsufficient"])):
        plan = world.plan(desired(wanted(release(), peak_bytes=need)))
        assert [one.reason for one in plan.held] == held
        assert all(words in one.message for one in plan.held)


EVERY = """\
name: edge-7
root: /a
cache: /b
app: reconciler
path: manifests
repository: {url: u, branch: b, allowFile: true, verify: all, allowedSigners: /c,
  tokenFile: /d, sshKey: /e, knownHosts: /f}
interval: 5m
listen: "off"
webhook: {secretFile: /g}
notify: {url: v, secretFile: /h}
commitStatus: {repository: "github:o/n", tokenFile: /i, url: w}
jobs: 2
conversionTimeout: 90m
"""


def test_every_field_that_has_a_flag_reaches_it() -> None:
    """Each setting is the variable of a flag of `run`, which asks for it as its default."""
    from reconciler.cli.options import Parser
    from reconciler.cli.verbs import run

    parser = Parser()
    run.add_arguments(parser)
    flags = {environment_of(flag) for action in parser._actions for flag in action.option_strings}
    said = settings_of(read(EVERY)).keys()
    assert said <= flags
    assert len(said) == 22


REGISTRY = "registries: [{{url: 'https://r.example.com/models', role: {role}}}]\n"


def test_where_artifacts_come_from_by_default() -> None:
    assert traits_of(read("name: a\n")).convert == "local"


@pytest.mark.parametrize("role", ["pull", "both"])
@pytest.mark.parametrize("mode", ["local", "registry-only", "prefer-registry"])
def test_where_artifacts_come_from(mode: str, role: str) -> None:
    assert traits_of(read(f"convert: {mode}\n{REGISTRY.format(role=role)}")).convert == mode


@pytest.mark.parametrize("rest", ["", REGISTRY.format(role="push")])
def test_nothing_can_be_pulled_from_nowhere(rest: str) -> None:
    text = f"apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\nconvert: registry-only\n{rest}"
    config, [problem] = parse_config(text.encode(), "machine.yaml")
    assert config is None
    assert (problem.field, problem.line) == ("convert", 3)
    assert "a registry with role pull or both" in problem.message


def test_trust() -> None:
    *_, example = re.findall(r"```yaml\n(.*?)```", (PAGE.parent / "registries.md").read_text(), re.DOTALL)
    config = read(example)
    [rule] = traits_of(config).trust.rules
    assert (rule.pattern, rule.mode) == ("ghcr.io/acme/*", "enforce")
    assert rule.keys == (
        TrustedKey(file="/etc/reconciler/builder-2026.pub", until="2027-01-31"),
        TrustedKey(file="/etc/reconciler/builder-2027.pub"),
    )
    assert rule.keys[0].counts("2027-01-31T23:59:59Z")
    assert not rule.keys[0].counts("2027-02-01T00:00:00Z")
    assert settings_of(config) == {
        "RECONCILER_SIGNING_KEY": "/etc/reconciler/builder.key",
        "RECONCILER_SIGNING_PASSPHRASE_FILE": "/etc/reconciler/builder.pass",
        "RECONCILER_BUILDER_ID": "https://ci.example.org/builders/1",
    }
    assert traits_of(read("revoked: [sha256:" + "a" * 64 + "]")).trust.asks
    assert not traits_of(read("trust: [{repository: '*', mode: off}]")).trust.asks


def test_trust_in_sources() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (PAGE.parent / "signed-sources.md").read_text(), re.DOTALL)
    policy = traits_of(read(PULLS + example)).trust  # a rule for sources is none for the registry
    assert (policy.rules, policy.asks, policy.asks_sources) == ((), False, True)
    acme = policy.rule_for_source("huggingface/acme/phi")
    assert (acme.mode, [one.file for one in acme.keys]) == ("enforce", ["/etc/reconciler/acme.pub"])
    assert policy.rule_for_source("/srv/models/phi").mode == "warn"
    other = policy.rule_for_source("huggingface/acmes/phi")
    assert (other.mode, other.keys) == ("enforce", ())
    assert not policy.rule_for("ghcr.io/acme/models").keys
    assert not policy.rule_for(ARCHIVE).keys


KEYS = "keys: [{file: /k.pub}]"
PULLS = "registries: [{url: 'https://ghcr.io/acme/models'}]\n"


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        (f"trust: [{{repository: 'https://ghcr.io/*', {KEYS}}}]", "trust[0].repository", "a pattern such as"),
        ("trust: [{repository: '*'}]", "trust[0].keys", "expected keys beside mode: enforce"),
        ("trust: [{repository: '*', mode: warn}]", "trust[0].keys", "expected keys beside mode: warn"),
        (f"trust: [{{repository: '*', mode: on, {KEYS}}}]", "trust[0].mode", "off, warn"),
        ("trust: [{repository: '*', keys: [{file: k.pub}]}]", "trust[0].keys[0].file", "an absolute path"),
        (
            "trust: [{repository: '*', keys: [{file: /k, until: 2027-13-01}]}]",
            "trust[0].keys[0].until",
            "a day such as 2027-01-31",
        ),
        (
            PULLS + f"trust: [{{repository: ghcr.io/acmes/*, {KEYS}}}]",
            "registries[0].url",
            "covers ghcr.io/acme/models",
        ),
        (f"trust: [{{source: 'https://huggingface.co/acme', {KEYS}}}]", "trust[0].source", "a pattern such as"),
        (f"trust: [{{source: '*', repository: '*', {KEYS}}}]", "trust[0]", "one of repository or source, got"),
        (f"trust: [{{{KEYS}}}]", "trust[0]", "one of repository or source, got none"),
        ("trust: [{source: '*'}]", "trust[0].keys", "expected keys beside mode: enforce"),
        ("revoked: [latest]", "revoked[0]", "64 hex digits"),
        ("signing: {passphraseFile: /p}", "signing.key", "expected a value"),
    ],
)
def test_what_is_no_trust_is_refused(text: str, field: str, said: str) -> None:
    config, problems = parse_config((HEAD + text).encode(), "config.yaml", SECTIONS)
    assert config is None
    [problem] = problems
    assert (problem.field, said in problem.message) == (field, True), problem


def test_a_rule_may_take_everything() -> None:
    assert traits_of(read(PULLS + "trust: [{repository: '*', mode: off}]")).trust.rules


def test_a_window_by_cron() -> None:
    traits = traits_of(read("windows: {build: [{schedule: '0 1 * * mon-fri', duration: 5h}]}\n"))
    assert traits.windows == Windows(build=(CronWindow(schedule="0 1 * * mon-fri", seconds=18_000.0),))


def test_bandwidth_and_windows() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (PAGE.parent / "bandwidth.md").read_text(), re.DOTALL)
    traits = traits_of(read(example.partition("MachineConfig\n")[2]))
    assert traits.time_zone == "Europe/Ljubljana"
    assert traits.bandwidth == Bandwidth(rate=2_000_000, daily=5 << 30, metered="urgent", splay=1800.0)
    assert traits.windows == Windows(
        fetch=(Window(start=22 * 60, end=6 * 60),),
        build=(Window(start=0, end=24 * 60, days=frozenset({5, 6})),),
        activate=(Window(start=3 * 60, end=5 * 60),),
    )
    bare = traits_of(read("name: a\n"))
    assert (bare.time_zone, bare.bandwidth, bare.windows) == ("", Bandwidth(), Windows())
