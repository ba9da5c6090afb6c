"""The configuration of one machine (`kind: MachineConfig`), as types: what it is called, which labels it has, what it
follows and whom it trusts. It is on the machine, never in the repository that the machine follows. Notification sinks
add sections of their own.

The table in `docs/configuration.md` comes from these types.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Annotated, Any, Literal

from annotated_types import Predicate
from pydantic import AfterValidator, Field, create_model

from reconciler.domain.errors import Problem
from reconciler.domain.machine.bandwidth import Bandwidth
from reconciler.domain.machine.facts import StorageLimits, Traits
from reconciler.domain.machine.maintenance_windows import Windows
from reconciler.domain.machine.registries import (
    CONVERT_MODES,
    LOCAL,
    ROLES,
    ConvertMode,
    RegistrySettings,
    read_address,
)
from reconciler.domain.machine.sink_settings import Section
from reconciler.domain.machine.trust import (
    OFF,
    TRUST_MODES,
    TrustedKey,
    TrustMode,
    TrustPolicy,
    TrustRule,
    is_repository_pattern,
    is_source_pattern,
)
from reconciler.domain.quarantine import LIVES
from reconciler.domain.text.names import environment_of
from reconciler.domain.text.quoting import field_path, shown
from reconciler.domain.text.units import read_duration
from reconciler.host.cage import CAGE_MODES, CageMode
from reconciler.manifests import loader
from reconciler.manifests.field_types import (
    AnyText,
    Duration,
    Flag,
    PeriodOrOff,
    Strict,
    as_text,
    as_whole,
    expect,
    got,
    one_of,
    optional,
    refusal,
)
from reconciler.manifests.loader import Plain
from reconciler.manifests.machine.bandwidth import BandwidthLimits
from reconciler.manifests.machine.disk import DiskLimits, Size
from reconciler.manifests.machine.places import (
    BackendName,
    Path,
    ProviderLibraries,
    RegistryCredentials,
    ReportsTo,
    Runtime,
    backends_of,
    runtime_problems,
)
from reconciler.manifests.machine.policies import MachinePolicy, policy_problems
from reconciler.manifests.machine.windows import MaintenanceWindows, TimeZone
from reconciler.manifests.problems import FieldProblem, accepted
from reconciler.manifests.selector import RESERVED, is_key, is_value

MachineName = Annotated[
    str,
    Predicate(lambda text: text and is_value(text)),
    expect("a name of at most 63 letters, digits, dashes, dots and underscores", as_text),
]
Jobs = Annotated[int, Field(ge=1, le=1000), expect("a whole number of at least 1", as_whole)]
VERIFY = ("none", "head", "all")
Verify = Annotated[Literal["none", "head", "all"], one_of(VERIFY)]
Cage = Annotated[CageMode, one_of(CAGE_MODES)]


def option(flag: str, meaning: str, **more: Any) -> Any:
    """A field that sets the option `flag`: `settings_of` finds it by that."""
    more = {"default": None} | more
    return Field(description=f"{meaning}; as {flag}.", json_schema_extra={"flag": flag}, **more)


class Repository(Strict):
    url: AnyText = option("--repo", "https or ssh URL", default=...)
    branch: AnyText | None = option("--branch", "Branch to follow")
    allow_file: Flag = option("--allow-file", "Also allow file URLs and local paths", default=False)
    verify: Verify | None = option("--verify", "Whose commits count")
    allowed_signers: Path | None = option("--allowed-signers", "ssh keys whose signatures count")
    token_file: Path | None = option("--token-file", "File with a token for https")
    ssh_key: Path | None = option("--ssh-key", "Private key for ssh")
    known_hosts: Path | None = option("--known-hosts", "Host keys for ssh")


class Webhook(Strict):
    secret_file: Path = option("--webhook-secret-file", "Secret of the git server's webhook", default=...)


class Scrub(Strict):
    period: PeriodOrOff | None = option("--scrub-period", "Time in which a daemon reads every byte, or off")


def _mirror_url(text: str) -> str:
    """A password in it is not shown."""
    if "@" in text:
        hint = "the password goes into a file: credentials: {file: /etc/reconciler/registry-login}"
        raise refusal("an address without an account", Plain("one with @ in it"), hint)
    if read_address(text) is None:
        raise refusal("an address such as https://ghcr.io/acme/models, in lower case, with a repository", Plain(text))
    return text


def _registry_url(text: str) -> str:
    """What a tag names is believed from the registry itself."""
    address = read_address(_mirror_url(text))
    if address is not None and not address.is_private:
        raise refusal("an https address", Plain(text), "plain http is for mirrors, and for a registry on this machine")
    return text


_ADDRESS = expect("an address such as https://ghcr.io/acme/models", as_text)
RegistryUrl = Annotated[str, AfterValidator(_registry_url), _ADDRESS]
MirrorUrl = Annotated[str, AfterValidator(_mirror_url), _ADDRESS]


class Registry(Strict):
    url: RegistryUrl = Field(description="Registry and repository.")
    role: Annotated[Literal["pull", "push", "both"], one_of(ROLES)] = Field(
        default="pull", description="Whether artifacts come from there, go there, or both."
    )
    credentials: RegistryCredentials | None = optional("The account there, where it wants one.")
    mirrors: list[MirrorUrl] = Field(
        default=[], max_length=16, description="Asked first, in this order, and believed by digest only."
    )
    ca_file: Path | None = optional("Certificate of a private authority (PEM); what the system trusts counts too.")

    @property
    def settings(self) -> RegistrySettings:
        """As the rest of the program has it."""
        address, mirrors = read_address(self.url), tuple(map(read_address, self.mirrors))
        assert address is not None, "its type lets no other through"
        return RegistrySettings(
            address=address,
            role=self.role,
            mirrors=tuple(one for one in mirrors if one),
            credentials_file=(self.credentials and self.credentials.file) or "",
            credentials_variable=(self.credentials and self.credentials.env) or "",
            ca_file=self.ca_file or "",
        )


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


Day = Annotated[str, Predicate(_is_day), expect("a day such as 2027-01-31", as_text)]
RepositoryPattern = Annotated[
    str, Predicate(is_repository_pattern), expect("a pattern such as ghcr.io/acme/*, without https://", as_text)
]
SourcePattern = Annotated[
    str, Predicate(is_source_pattern), expect("a pattern such as huggingface/acme/* or /srv/models/*", as_text)
]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$"), expect("a digest: sha256: and 64 hex digits", as_text)]


class BuilderKey(Strict):
    file: Path = Field(description="Public key (PEM: ECDSA on P-256, P-384 or P-521, or Ed25519).")
    until: Day | None = optional("The last day on which it counts for what comes. Default: for ever.")


class Trust(Strict):
    exclusive = (("repository", "source"),)

    repository: RepositoryPattern | None = optional(
        "For builds: registry and repository, without https://; a star stands for anything."
    )
    source: SourcePattern | None = optional(
        "For models that are converted here: huggingface/ORG/NAME, or the absolute path of a folder, with stars."
    )
    mode: Annotated[TrustMode, one_of(TRUST_MODES)] = Field(
        default="enforce", description="What becomes of what none of the keys has signed: refused, doubted, taken."
    )
    keys: list[BuilderKey] = Field(default=[], max_length=16, description="Whose signatures count.")

    @property
    def rule(self) -> TrustRule:
        """As the rest of the program has it."""
        keys = tuple(TrustedKey(file=one.file, until=one.until or "") for one in self.keys)
        return TrustRule(pattern=self.source or self.repository or "", mode=self.mode, keys=keys)


class Signing(Strict):
    key: Path = option("--signing-key", "Private key that `build` signs with", default=...)
    passphrase_file: Path | None = option("--signing-passphrase-file", "Its passphrase")
    builder_id: AnyText | None = option("--builder-id", "URI that names this builder in what it signs")


class MachineConfig(Strict):
    """What one machine is and follows."""

    api_version: Literal["reconciler.foundry/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["MachineConfig"] = Field(description="What this document is.")
    name: MachineName | None = optional("The machine's name. Default: its host name without the domain.")
    labels: dict[str, AnyText] = Field(
        default={}, description="What models are selected by; not below `reconciler.foundry/`."
    )
    root: Path | None = option("--root", "Where store, served folders and records live")
    backend: BackendName | None = optional("The runtime that serves the models (default: foundry-local).")
    runtimes: list[Runtime] = Field(
        default=[],
        max_length=4,
        description="In place of `backend`: all runtimes that serve each model, the main one first.",
    )
    provider_libraries: ProviderLibraries = Field(default={})
    cache: Path | None = option("--cache", "Foundry Local's model_cache_dir")
    app: AnyText | None = option("--app", "The Foundry Local application")
    path: AnyText | None = option("--path", "Folder with the manifests, with a repository inside it")
    repository: Repository | None = optional("The repository that is followed.")
    source_roots: list[Path] = Field(
        default=[], description="Also allow model folders below these; --source-root adds to them."
    )
    interval: Duration | None = option("--interval", "Time between passes of a daemon")
    listen: AnyText | None = option("--listen", "Address that a daemon listens at")
    webhook: Webhook | None = optional("Who may wake a daemon.")
    jobs: Jobs | None = option("--jobs", "Conversions at a time")
    conversion_timeout: Duration | None = option("--conversion-timeout", "Time limit of one conversion")
    registries: list[Registry] = Field(
        default=[], max_length=16, description="OCI registries that share converted artifacts."
    )
    convert: Annotated[ConvertMode, one_of(CONVERT_MODES)] = Field(
        default="local",
        description="Where a missing artifact comes from: converted here, pulled only, or pulled if it is there.",
    )
    trust: list[Trust] = Field(
        default=[],
        max_length=16,
        description="Whose builds count, by registry, and whose sources: the first that fits.",
    )
    revoked: list[Digest] = Field(
        default=[], max_length=1000, description="Artifacts and build keys that are neither pulled nor served anew."
    )
    policies: list[MachinePolicy] = Field(
        default=[], max_length=64, description="What models must be to be served here, whatever git says."
    )
    signing: Signing | None = optional("What a builder signs with.")
    time_zone: TimeZone | None = optional("Of windows and of a budget's day (default: UTC).")
    bandwidth: BandwidthLimits | None = optional("What may be downloaded from registries and hubs.")
    windows: MaintenanceWindows | None = optional("When this machine may fetch, build and activate; none: at any time.")
    scrub: Scrub | None = optional("How a daemon looks for rotten bytes.")
    conversion_memory: Size | None = option("--conversion-memory", "Memory of one conversion, such as 24GiB")
    cage: Cage | None = option("--cage", "Sandbox of the converter")
    limits: DiskLimits | None = optional("How much of the disk may be used.")
    reports: ReportsTo | None = optional("Where this machine reports to, and whose reports it reads.")
    quarantine_for: PeriodOrOff | None = optional(
        "How long moved-aside foreign things are kept (default: 168h), or off: for ever."
    )


def config_type(sections: Iterable[Section]) -> type[MachineConfig]:
    """MachineConfig with these sections too."""
    fields: dict[str, Any] = {one.name: (_section_type(one) | None, optional(one.meaning)) for one in sections}
    return create_model("MachineConfig", __base__=MachineConfig, **fields)


def _section_type(section: Section) -> Any:
    switch = next(iter(section.settings))
    fields: dict[str, Any] = {}
    for name, one in section.settings.items():
        kind = AnyText if one.kind == "text" else Path
        meaning = one.meaning[:1].upper() + one.meaning[1:]
        needed = (kind, option(one.flag, meaning, default=...))
        fields[name] = needed if name == switch else (kind | None, option(one.flag, meaning))
    return create_model(section.name, __base__=Strict, **fields)


def parse_config(
    data: bytes, file: str, sections: Iterable[Section] = ()
) -> tuple[MachineConfig | None, tuple[Problem, ...]]:
    """The configuration, or everything that is wrong with it. `sections` are those of notification sinks."""
    loaded = loader.load(file, data)
    problems = [*loaded.problems, *(problem for one in loaded.documents for problem in one.problems)]
    if problems:
        return None, tuple(problems)
    if len(loaded.documents) != 1 or not isinstance(loaded.documents[0].data, dict):
        found = got(loaded.documents[0].data) if len(loaded.documents) == 1 else f"{len(loaded.documents)}"
        message = f"expected one document of kind MachineConfig, got {found}"
        return None, (Problem(code="NotAManifest", file=file, line=1, message=message),)
    document = loaded.documents[0]
    config = accepted(document, file, config_type(sections))
    if isinstance(config, tuple):
        return None, config
    wrong = tuple(_invalid(document, file, *one) for one in _problems(config))
    return (None, wrong) if wrong else (config, ())


def _invalid(document: loader.YamlDocument, file: str, path: loader.Path, message: str, hint: str) -> Problem:
    line, field = document.line(path), field_path(path)
    return Problem(code="InvalidValue", file=file, line=line, field=field, message=message, hint=hint)


def _problems(config: MachineConfig) -> Iterator[FieldProblem]:
    """What fields say that contradict each other, or that their types do not refuse."""
    yield from _label_problems(config)
    yield from _registry_problems(config)
    yield from _trust_problems(config)
    yield from policy_problems(config.policies)
    beside = "backend" if config.backend else "cache" if config.cache else "app" if config.app else ""
    yield from runtime_problems(config.runtimes, beside)


def _label_problems(config: MachineConfig) -> Iterator[FieldProblem]:
    for key, value in config.labels.items():
        if not is_key(key) or key.startswith(RESERVED):
            message = f"expected a label's key as in Kubernetes, not below {RESERVED}, got {shown(key)}"
        elif not is_value(value):
            message = f"expected a label's value as in Kubernetes, got {shown(value)}"
        else:
            continue
        yield ("labels", key), message, ""


def _registry_problems(config: MachineConfig) -> Iterator[FieldProblem]:
    urls = [one.url for one in config.registries]
    for number, url in enumerate(urls):
        if url in urls[:number]:
            message = f"expected each registry once, got {shown(url)} again"
            yield ("registries", number, "url"), message, ""
    if config.convert != LOCAL and not any(one.settings.pulls for one in config.registries):
        message = f"expected a registry with role pull or both beside convert: {config.convert}, got none"
        yield ("convert",), message, ""


def _trust_problems(config: MachineConfig) -> Iterator[FieldProblem]:
    """Nothing is taken unsigned because a pattern was mistyped."""
    for number, rule in enumerate(config.trust):
        if rule.mode != OFF and not rule.keys:
            message = f"expected keys beside mode: {rule.mode}, got none"
            yield ("trust", number, "keys"), message, ""
    builds = [one.rule for one in config.trust if one.source is None]
    for number, one in enumerate(config.registries if builds else ()):
        name = str(one.settings.address)
        # guard: each registry has a rule of trust
        if one.settings.pulls and not any(rule.covers(name) for rule in builds):
            message = f"expected a rule of trust that covers {name}, got none"
            hint = "add one; its repository is written without https://, and mode: off takes everything"
            yield ("registries", number, "url"), message, hint


def _trust_of(config: MachineConfig) -> TrustPolicy:
    return TrustPolicy(
        rules=tuple(one.rule for one in config.trust if one.source is None),
        sources=tuple(one.rule for one in config.trust if one.source is not None),
        revoked=frozenset(config.revoked),
    )


def traits_of(config: MachineConfig) -> Traits:
    limits = config.limits or DiskLimits()
    return Traits(
        name=config.name or "",
        labels=dict(config.labels),
        limits=StorageLimits(disk_quota=limits.disk_quota, disk_reserve=limits.disk_reserve or 0),
        backends=backends_of(config.backend, config.runtimes, config.provider_libraries),
        source_roots=tuple(config.source_roots),
        registries=tuple(one.settings for one in config.registries),
        convert=config.convert,
        trust=_trust_of(config),
        conversion_memory=config.conversion_memory or 0,
        bandwidth=config.bandwidth.values if config.bandwidth else Bandwidth(),
        windows=config.windows.values if config.windows else Windows(),
        time_zone=config.time_zone or "",
        reports=config.reports.settings if config.reports else None,
        quarantine_for=LIVES
        if config.quarantine_for is None
        else read_duration(config.quarantine_for),  # None for "off"
    )


def settings_of(config: Strict) -> dict[str, str]:
    """The values of options, by the environment variable that overrides them."""
    found: dict[str, str] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Strict):
            found |= settings_of(value)
        elif isinstance(field.json_schema_extra, dict) and value is not None and value is not False:
            found[environment_of(str(field.json_schema_extra["flag"]))] = "1" if value is True else str(value)
    return found
