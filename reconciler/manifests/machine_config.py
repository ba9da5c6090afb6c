"""The configuration of one machine (`kind: MachineConfig`), as types: what it is called, which labels it has, what it
follows and whom it trusts. It lies on the machine, never in the repository that the machine follows.

The table in `docs/configuration.md` comes from these types.
"""

import os.path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from reconciler.backends.select import BACKENDS
from reconciler.domain.errors import Problem
from reconciler.domain.facts import StorageLimits, Traits
from reconciler.domain.quarantine import LIVES
from reconciler.domain.text.quoting import listed, shown
from reconciler.domain.text.units import DURATION_PATTERN, read_duration, read_size
from reconciler.manifests import loader
from reconciler.manifests.fields import AnyText, Flag, as_text, as_whole, expect, got
from reconciler.manifests.problems import accepted
from reconciler.manifests.selector import RESERVED, is_key, is_value
from reconciler.manifests.strict import Strict


def as_size(value: object) -> object:
    size = read_size(value) if isinstance(value, str) else None
    return value if size is None else size


def _absolute(path: str) -> str:
    if not os.path.isabs(path):
        raise ValueError
    return path


def _name(text: str) -> str:
    if not text or not is_value(text):
        raise ValueError
    return text


def _backend(text: str) -> str:
    if text not in BACKENDS:
        raise ValueError
    return text


Size = Annotated[int, Field(ge=0, le=1 << 60), expect("a size such as 20GiB", as_size)]
Path = Annotated[str, Field(max_length=4096), AfterValidator(_absolute), expect("an absolute path", as_text)]
MachineName = Annotated[
    str, AfterValidator(_name), expect("a name of at most 63 letters, digits, dashes, dots and underscores", as_text)
]
BackendName = Annotated[str, AfterValidator(_backend), expect(listed(tuple(BACKENDS)), as_text, known=tuple(BACKENDS))]
Duration = Annotated[
    str, Field(pattern=f"^{DURATION_PATTERN}$"), expect("a duration such as 90s, 45m or 2h30m", as_text)
]
PeriodOrOff = Annotated[
    str, Field(pattern=f"^(off|{DURATION_PATTERN})$"), expect("a duration such as 24h, or off", as_text)
]
Jobs = Annotated[int, Field(ge=1, le=1000), expect("a whole number of at least 1", as_whole)]
VERIFY = ("none", "head", "all")
Verify = Annotated[Literal["none", "head", "all"], expect(listed(VERIFY), as_text, known=VERIFY)]

CAGE = ("auto", "require", "off")
CageMode = Annotated[Literal["auto", "require", "off"], expect(listed(CAGE), as_text, known=CAGE)]


class Repository(Strict):
    url: AnyText = Field(description="https or ssh URL; as --repo.")
    branch: AnyText | None = Field(default=None, description="Branch to follow; as --branch.")
    allow_file: Flag = Field(default=False, description="Also allow file URLs and local paths.")
    verify: Verify | None = Field(default=None, description="Whose commits count; as --verify.")
    allowed_signers: Path | None = Field(default=None, description="ssh keys whose signatures count.")
    token_file: Path | None = Field(default=None, description="File with a token for https.")
    ssh_key: Path | None = Field(default=None, description="Private key for ssh.")
    known_hosts: Path | None = Field(default=None, description="Host keys for ssh.")


class Webhook(Strict):
    secret_file: Path = Field(description="Secret of the git server's webhook; as --webhook-secret-file.")


class Notify(Strict):
    url: AnyText = Field(description="Webhook that gets a CloudEvent for what matters; as --notify.")
    secret_file: Path | None = Field(default=None, description="Secret that those are signed with.")


class CommitStatus(Strict):
    repository: AnyText = Field(description="TYPE:OWNER/NAME; as --commit-status.")
    token_file: Path | None = Field(default=None, description="File with a token for that.")
    url: AnyText | None = Field(default=None, description="That server's address, unless it is the public one.")


class Scrub(Strict):
    period: PeriodOrOff | None = Field(
        default=None, description="Time in which a daemon reads every byte, or off; as --scrub-period."
    )


class DiskLimits(Strict):
    disk_quota: Size | None = Field(
        default=None, description="What the root may use of the disk in all, such as 200GiB."
    )
    disk_reserve: Size | None = Field(default=None, description="What a conversion must leave free.")


class MachineConfig(Strict):
    """What one machine is and follows."""

    api_version: Literal["reconciler.foundry/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["MachineConfig"] = Field(description="What this document is.")
    name: MachineName | None = Field(
        default=None, description="The machine's name. Default: its host name without the domain."
    )
    labels: dict[str, AnyText] = Field(
        default={}, description="What models are selected by; not below `reconciler.foundry/`."
    )
    root: Path | None = Field(default=None, description="Where store, served folders and records live; as --root.")
    backend: BackendName | None = Field(
        default=None, description="The back end that serves the models (default: foundry-local)."
    )
    cache: Path | None = Field(default=None, description="Foundry Local's model_cache_dir; as --cache.")
    app: AnyText | None = Field(default=None, description="The Foundry Local application; as --app.")
    path: AnyText | None = Field(
        default=None, description="Folder with the manifests, with a repository inside it; as --path."
    )
    repository: Repository | None = Field(default=None, description="The repository that is followed.")
    source_roots: list[Path] = Field(
        default=[], description="Also allow model folders below these; --source-root adds to them."
    )
    interval: Duration | None = Field(default=None, description="Time between passes of a daemon.")
    listen: AnyText | None = Field(default=None, description="Address that a daemon listens at.")
    webhook: Webhook | None = Field(default=None, description="Who may wake a daemon.")
    notify: Notify | None = Field(default=None, description="Where a daemon sends notifications.")
    commit_status: CommitStatus | None = Field(
        default=None, description="Where a daemon marks commits with what became of them."
    )
    jobs: Jobs | None = Field(default=None, description="Conversions at a time; as --jobs.")
    conversion_timeout: Duration | None = Field(
        default=None, description="Time limit of one conversion; as --conversion-timeout."
    )
    scrub: Scrub | None = Field(default=None, description="How a daemon looks for rotten bytes.")
    conversion_memory: Size | None = Field(
        default=None, description="Memory of one conversion, such as 24GiB; as --conversion-memory."
    )
    cage: CageMode | None = Field(default=None, description="Sandbox of the converter; as --cage.")
    limits: DiskLimits | None = Field(default=None, description="How much of the disk may be used.")
    quarantine_for: PeriodOrOff | None = Field(
        default=None, description="How long moved-aside foreign things are kept (default: 168h), or off: for ever."
    )


def parse_config(data: bytes, file: str) -> tuple[MachineConfig | None, tuple[Problem, ...]]:
    """The configuration, or everything that is wrong with it."""
    loaded = loader.load(file, data)
    problems = [*loaded.problems, *(problem for one in loaded.documents for problem in one.problems)]
    if problems:
        return None, tuple(problems)
    if len(loaded.documents) != 1 or not isinstance(loaded.documents[0].data, dict):
        found = got(loaded.documents[0].data) if len(loaded.documents) == 1 else f"{len(loaded.documents)}"
        message = f"expected one document of kind MachineConfig, got {found}"
        return None, (Problem(code="NotAManifest", file=file, line=1, message=message),)
    document = loaded.documents[0]
    config = accepted(document, file, MachineConfig)
    if isinstance(config, tuple):
        return None, config
    wrong = tuple(_label_problems(config, document, file))
    return (None, wrong) if wrong else (config, ())


def _label_problems(config: MachineConfig, document: loader.Document, file: str) -> list[Problem]:
    found = []
    for key, value in config.labels.items():
        if not is_key(key) or key.startswith(RESERVED):
            expected = f"a label's key as in Kubernetes, not below {RESERVED}"
            found.append((key, f"expected {expected}, got {shown(key)}"))
        elif not is_value(value):
            found.append((key, f"expected a label's value as in Kubernetes, got {shown(value)}"))
    return [
        Problem(
            code="InvalidValue",
            file=file,
            line=document.line(("labels", key)),
            field=f"labels.{shown(key)}",
            message=message,
        )
        for key, message in found
    ]


def traits_of(config: MachineConfig) -> Traits:
    limits = config.limits or DiskLimits()
    return Traits(
        name=config.name or "",
        labels=dict(config.labels),
        limits=StorageLimits(disk_quota=limits.disk_quota, disk_reserve=limits.disk_reserve or 0),
        backend=config.backend or "",
        source_roots=tuple(config.source_roots),
        quarantine_for=_lives(config.quarantine_for),
    )


def _lives(said: str | None) -> float | None:
    if said is None:
        return LIVES
    return None if said == "off" else read_duration(said)


def settings_of(config: MachineConfig) -> dict[str, str]:
    """By the environment variable that is stronger than it."""
    repository = config.repository
    said: dict[str, object] = {
        "ROOT": config.root,
        "CACHE": config.cache,
        "APP": config.app,
        "PATH": config.path,
        "INTERVAL": config.interval,
        "LISTEN": config.listen,
        "JOBS": config.jobs,
        "CONVERSION_TIMEOUT": config.conversion_timeout,
        "CONVERSION_MEMORY": config.conversion_memory,
        "CAGE": config.cage,
    }
    if config.scrub is not None:
        said["SCRUB_PERIOD"] = config.scrub.period
    if config.webhook is not None:
        said["WEBHOOK_SECRET_FILE"] = config.webhook.secret_file
    if config.notify is not None:
        said |= {"NOTIFY": config.notify.url, "NOTIFY_SECRET_FILE": config.notify.secret_file}
    if config.commit_status is not None:
        said |= {
            "COMMIT_STATUS": config.commit_status.repository,
            "COMMIT_STATUS_TOKEN_FILE": config.commit_status.token_file,
            "COMMIT_STATUS_URL": config.commit_status.url,
        }
    if repository is not None:
        said |= {
            "REPO": repository.url,
            "BRANCH": repository.branch,
            "ALLOW_FILE": "1" if repository.allow_file else None,
            "VERIFY": repository.verify,
            "ALLOWED_SIGNERS": repository.allowed_signers,
            "TOKEN_FILE": repository.token_file,
            "SSH_KEY": repository.ssh_key,
            "KNOWN_HOSTS": repository.known_hosts,
        }
    return {f"RECONCILER_{name}": str(value) for name, value in said.items() if value is not None}
