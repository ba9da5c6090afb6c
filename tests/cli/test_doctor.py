"""doctor: each thing that is usually wrong, made wrong, is one line with what to do."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.layout import Layout
from reconciler.domain.machine.facts import StorageLimits
from reconciler.host.lock import hold
from reconciler.operations import doctor
from reconciler.registry.signing_keys import read_id
from reconciler.reports.checks import doctor_text
from tests import canaries
from tests.at_rest import edit_catalog, entry, opened
from tests.machine import REPOSITORY, TestMachine, tree
from tests.registry.keys import key_pair

HEAD = "apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\n"

# The first time loads everything that the second needs: others may not enter the folder that Python lies in.
AS_NOBODY = """
import contextlib, io, os, sys
from reconciler.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["doctor"])
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(main(["doctor", "-o", "json"]))
"""


def examine(machine: TestMachine, **environment: str) -> dict[str, list[dict[str, Any]]]:
    """The lines by their check."""
    found: dict[str, list[dict[str, Any]]] = {}
    done = machine.run("doctor", "-o", "json", **environment)
    lines = done.json()["checks"]
    assert done.code == any(line["level"] == "error" for line in lines), done.err
    for line in lines:
        assert bool(line["advice"]) == (line["level"] != "ok")
        found.setdefault(line["check"], []).append(line)
    return found


def wrong(machine: TestMachine, check: str, **environment: str) -> list[str]:
    lines = examine(machine, **environment).get(check, [])
    return [f"{line['level']}: {line['message']}" for line in lines if line["level"] != "ok"]


def test_a_sound_machine_has_no_errors_and_is_not_written_to(machine: TestMachine) -> None:
    before = tree(machine.folder)
    done = machine.run("doctor")
    assert done.code == 0, done.out
    assert f"reconciler serves {machine.cache}: 1 model of this root, 0 of others" in done.out
    assert "git version" in done.out
    assert tree(machine.folder) == before


def test_an_empty_machine_has_no_errors_and_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    machine = TestMachine(folder=tmp_path)
    assert "does not exist yet and can be made" in machine.run("doctor").out
    assert [path.name for path in tmp_path.iterdir()] == ["fleet"]


def test_every_cache_is_named_with_what_its_application_sees(machine: TestMachine) -> None:
    home = machine.folder / "home"
    for app in ("foundry", "chat", "empty"):
        (home / f".{app}" / "cache" / "models").mkdir(parents=True)
    (home / ".foundry" / "cache" / "models" / "Microsoft").mkdir()
    chat = TestMachine(folder=machine.folder / "chat")
    edit_catalog(chat, lambda _: {"a:1": entry("a:1", "/a", {}), "b:1": entry("b:1", "/b", {})})
    (chat.cache / "foundry.local.modelinfo.json").rename(
        home / ".chat" / "cache" / "models" / "foundry.local.modelinfo.json"
    )
    said = [line["message"] for line in examine(machine, HOME=str(home))["cache"]]
    assert said == [
        f"reconciler serves {machine.cache}: 1 model of this root, 0 of others",
        f"application chat sees {home}/.chat/cache/models: 0 models of this root, 2 of others",
        f"application foundry sees {home}/.foundry/cache/models: 0 models of this root, 0 of others",
    ]


def test_one_root_that_serves_two_caches_is_a_warning(machine: TestMachine) -> None:
    other = machine.folder / "home" / ".chat" / "cache" / "models"
    other.mkdir(parents=True)
    index = "foundry.local.modelinfo.json"
    (other / index).write_bytes((machine.cache / index).read_bytes())
    (message,) = wrong(machine, "cache", HOME=str(machine.folder / "home"))
    assert message.startswith("warning: application chat sees")
    assert message.endswith("this root serves two caches")


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("500MiB", "error: a conversion may hold 500.0 MiB, and the smallest needs 600.0 MiB"),
        ("1024TiB", "warning: a conversion may hold 1048576.0 GiB, and there are "),
    ],
)
def test_a_limit_that_no_conversion_could_do_with_or_the_machine_does_not_have(
    machine: TestMachine, limit: str, said: str
) -> None:
    (message,) = wrong(machine, "memory", RECONCILER_CONVERSION_MEMORY=limit)
    assert message.startswith(said)


def test_the_limit_of_the_disk_that_decides_is_named(machine: TestMachine) -> None:
    config = machine.folder / "config.yaml"
    for limits, level, words in (
        ("{diskQuota: 1}", "warning", "0 B are left of limits.diskQuota ("),
        ("{diskReserve: 1000TiB}", "warning", "0 B are free beside limits.diskReserve ("),
    ):
        config.write_text(f"{HEAD}limits: {limits}\n")
        (line,) = wrong(machine, "disk", RECONCILER_CONFIG=str(config))
        assert line.startswith(f"{level}: {words}"), line
        (line,) = examine(machine, RECONCILER_CONFIG=str(config))["disk"]
        assert all(words in line["advice"] for words in ("`reconciler gc`", "`disk: {strategy: delete-then-build}`"))
    config.write_text(f"{HEAD}limits: {{diskQuota: 1000TiB}}\n")
    (line,) = examine(machine, RECONCILER_CONFIG=str(config))["disk"]
    assert "are free" in line["message"]


@pytest.mark.parametrize(
    ("quota", "used", "level"),
    [
        (60 << 20, 6 << 20, "ok"),
        (60 << 20, 53 << 20, "ok"),
        (60 << 20, 55 << 20, "warning"),
        (0, 0, "warning"),
        (200 << 30, 190 << 30, "ok"),  # a tenth is more than a small conversion needs
        (200 << 30, 196 << 30, "warning"),
    ],
)
def test_a_small_quota_is_little_only_when_a_tenth_is_left(
    quota: int, used: int, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "disk_free", lambda path: 1 << 40)
    monkeypatch.setattr(doctor, "bytes_below", lambda path: used)
    layout, limits = Layout(str(tmp_path)), StorageLimits(disk_quota=quota)
    assert doctor._disk(layout, limits).level == level
    monkeypatch.setattr(doctor, "disk_free", lambda path: 100 << 20)
    assert doctor._disk(layout, limits).level == "error"  # too little for any pass, whatever the quota


def test_a_cache_that_cannot_be_read_is_an_error(machine: TestMachine) -> None:
    (machine.cache / "foundry.local.modelinfo.json").write_text("{")
    (message,) = wrong(machine, "cache")
    assert message.startswith("error: ")
    assert "cannot be read" in message


def test_a_root_inside_a_cache_is_an_error(machine: TestMachine) -> None:
    (message,) = wrong(machine, "cache", RECONCILER_CACHE=str(machine.folder))
    assert message.startswith(f"error: the root {machine.root} lies inside the cache")


def test_another_version_and_a_missing_package_are_errors(machine: TestMachine, tmp_path: Path) -> None:
    """A first entry of the path with metadata of its own stands for another installation."""
    packages = tmp_path / "packages"
    for name, version in (("onnxruntime_genai", "0.15.0"), ("torch", "2.13.0+cpu")):
        folder = packages / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    path = os.pathsep.join([str(packages), str(REPOSITORY)])
    assert wrong(machine, "packages", PYTHONPATH=path) == [
        "error: onnxruntime-genai is 0.15.0, 0.14.1 is tested: needed for converting"
    ]
    config = tmp_path / "serves.yaml"
    config.write_text(
        f"{HEAD}convert: registry-only\nregistries: [{{url: https://registry.example/models, role: pull}}]\n"
    )
    serving = examine(machine, PYTHONPATH=path, RECONCILER_CONFIG=str(config))
    assert {line["level"] for line in serving["packages"]} == {"ok"}
    assert "cage" not in serving
    missing = packages_without(machine, tmp_path / "without", "foundry_local")
    assert ("error", "foundry-local-sdk is not installed: needed for serving") in missing


def test_a_machine_without_what_converts_misses_none_of_it(machine: TestMachine, tmp_path: Path) -> None:
    converting = ("olive_ai", "onnxruntime_genai-", "torch-", "transformers-", "peft")
    first, *rest = packages_without(machine, tmp_path / "without", *converting)
    assert first[0] == "warning"
    assert first[1].startswith("nothing that converts is installed: ready ONNX models are served")
    assert {level for level, _ in rest} == {"ok"}
    assert any(message.startswith("foundry-local-sdk ") for _, message in rest)


def packages_without(machine: TestMachine, folder: Path, *names: str) -> list[tuple[str, str]]:
    """What it says of packages in an installation that lacks those whose folders begin so."""
    folder.mkdir()
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith(names):
            (folder / package.name).symlink_to(package)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "reconciler", "doctor", "-o", "json"],
        env=os.environ | machine.environment() | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(folder)])},
        capture_output=True,
        text=True,
        check=False,
    )
    checks = json.loads(done.stdout)["checks"]
    return [(one["level"], one["message"]) for one in checks if one["check"] == "packages"]


def test_a_folder_that_others_can_write_is_a_warning(machine: TestMachine) -> None:
    machine.root.chmod(0o777)
    (message,) = wrong(machine, "permissions")
    assert message == f"warning: others can write the root {machine.root} (mode 777)"


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that other users may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may become somebody else")
def test_who_cannot_write_is_told_who_can(shared: Path) -> None:
    machine = TestMachine(folder=shared)
    machine.root.mkdir()
    for name in ("lock", "owner"):
        (machine.root / name).write_text("0" * 32)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY],
        env=os.environ | machine.environment() | {"HOME": str(shared)},
        cwd=shared,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    checks = [c for c in json.loads(done.stdout)["checks"] if c["check"] == "permissions"]
    assert [(c["level"], c["message"]) for c in checks] == [
        ("error", f"nobody cannot write {machine.root}, where the root is"),
        ("error", f"nobody cannot write {shared}, where the cache is"),
        ("error", f"nobody cannot write {machine.root}/lock"),
        ("error", f"nobody cannot write {machine.root}/owner"),
    ]
    assert checks[2]["advice"].startswith("run reconciler as root")


def test_no_git_and_an_old_git_are_warnings(machine: TestMachine) -> None:
    folder = machine.folder / "bin"
    folder.mkdir()
    assert wrong(machine, "git", PATH=str(folder)) == ["warning: git is not installed"]
    (folder / "git").write_text("#!/bin/sh\necho git version 2.17.1\n")
    (folder / "git").chmod(0o755)
    assert wrong(machine, "git", PATH=str(folder)) == ["warning: git version 2.17.1 is old"]
    (folder / "git").write_text("#!/bin/sh\nexit 1\n")
    assert wrong(machine, "git", PATH=str(folder))[0].startswith("error: ")


def test_a_repository_that_the_next_command_cannot_follow_is_an_error(machine: TestMachine) -> None:
    config, nowhere = machine.folder / "config.yaml", machine.folder / "bin"
    nowhere.mkdir()
    given = {"RECONCILER_CONFIG": str(config)}
    config.write_text(f"{HEAD}repository: {{url: 'file:///srv/fleet.git'}}\n")
    (line,) = examine(machine, **given)["repository"]
    assert (line["level"], "`repository.allowFile: true`" in line["advice"]) == ("error", True)
    config.write_text(f"{HEAD}repository: {{url: 'file:///srv/fleet.git', allowFile: true}}\n")
    assert wrong(machine, "repository", **given) == wrong(machine, "git", **given) == []
    (message,) = wrong(machine, "git", PATH=str(nowhere), **given)
    assert message == "error: git is not installed, and this machine follows a repository"


def test_a_clock_before_the_newest_event_is_a_warning(machine: TestMachine) -> None:
    opened(machine).records.append_event({"time": "2999-01-01T00:00:00Z", "type": "apply.done"})
    (message,) = wrong(machine, "clock")
    assert message.endswith("but the newest event is of 2999-01-01T00:00:00Z")


def test_what_dead_processes_left_is_a_warning_and_what_a_living_one_makes_is_not(machine: TestMachine) -> None:
    for name in ("staging/x", "trash/y", "quarantine/z"):
        (machine.root / name).mkdir(parents=True)
    (machine.root / "records" / "machine.json.damaged-1").touch()
    (machine.root / "records" / ".x.0a1b2c3d.tmp").touch()
    assert len(wrong(machine, "leftovers")) == 5
    with hold(str(machine.root / "lock"), command="apply"):
        found = examine(machine)
        assert found["lock"][0]["message"].startswith(f"held by pid {os.getpid()} ")
        assert len([line for line in found["leftovers"] if line["level"] != "ok"]) == 2


def test_nobody_holds_the_lock_of_a_process_that_was_killed(machine: TestMachine) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    holder = {"pid": child.pid, "host": "h", "command": "apply", "since": time.strftime("%Y")}
    (machine.root / "lock.holder").write_text(json.dumps(holder))
    assert examine(machine)["lock"][0]["message"] == "no pass is at work"


def test_quiet_shows_only_what_is_not_ok(machine: TestMachine) -> None:
    machine.root.chmod(0o777)
    lines = machine.run("doctor", "-q").out.splitlines()
    assert lines[0].startswith("warning  permissions")
    assert lines[1].strip().startswith("chmod go-w")
    assert lines[-1] == "0 errors, 1 warning"


def test_hostile_text_does_not_reach_the_terminal() -> None:
    line = {"check": "cache", "level": "ok", "message": "a\x1b[2Jb\nc", "advice": ""}
    assert "\x1b" not in doctor_text({"checks": [line]})


def test_keys_of_builders_are_looked_at(machine: TestMachine) -> None:
    config, (_, public) = machine.folder / "trust.yaml", key_pair(machine.folder, "builder")
    keys = f"[{{file: {public}}}, {{file: {public}, until: 2020-01-01}}, {{file: /none}}]"
    config.write_text(f"{HEAD}trust: [{{repository: ghcr.io/*, keys: {keys}}}]\n")
    config.chmod(0o600)
    good, old, none = examine(machine, RECONCILER_CONFIG=str(config))["trust"]
    assert (good["level"], good["message"]) == ("ok", f"ghcr.io/* (enforce): {public} is {read_id(public)}")
    assert (old["level"], "counted until 2020-01-01" in old["message"]) == ("warning", True)
    assert (none["level"], "/none: No such file" in none["message"]) == ("error", True)


def test_registries_are_looked_at_without_the_network(machine: TestMachine) -> None:
    line, config = machine.folder / "login", machine.folder / "config.yaml"
    password = canaries.file(line, "registry-login")
    line.write_text(f"fleet:{password}")
    line.chmod(0o600)
    config.write_text(
        f"{HEAD}registries:\n"
        "- url: https://registry.example/models\n"
        f"  credentials: {{file: {line}}}\n"
        "  mirrors: ['http://site.example/models']\n"
        "- {url: 'https://other.example/models', role: push, credentials: {env: RECONCILER_LOGIN}}\n"
        f"- {{url: 'https://third.example/models', caFile: {machine.folder}/none.pem}}\n"
    )
    config.chmod(0o600)
    given = {"RECONCILER_CONFIG": str(config)}
    good, no_password, no_certificate = examine(machine, **given)["registry"]
    assert good["message"] == "registry.example/models (pull): an account for registry.example, 1 mirror"
    assert "the environment variable RECONCILER_LOGIN holds no password" in no_password["message"]
    assert no_certificate["message"].endswith("none.pem cannot be read")
    line.chmod(0o644)
    [open_to_all, *_] = examine(machine, **given)["registry"]
    assert (open_to_all["level"], open_to_all["advice"]) == ("warning", f"chmod o-r {line}")
    bundle = machine.folder / "bundle.tar.gz"
    machine.run("doctor", "--bundle", str(bundle), **given)
    assert bundle.exists()
