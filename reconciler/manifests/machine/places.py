"""Sections of a machine's configuration: the account of a registry, where the machine's reports go, and the runtimes
that serve on it: one (`backend`), or several with a cache each."""

import os.path
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from annotated_types import Predicate
from pydantic import AfterValidator, Field

from reconciler.backends.foundry.provider_libraries import VARIABLES
from reconciler.backends.select import BACKENDS, DEFAULT
from reconciler.domain.machine.backends import BackendSettings
from reconciler.domain.machine_report import ReportSettings
from reconciler.domain.text.quoting import shown
from reconciler.domain.text.units import read_duration
from reconciler.manifests.field_types import AnyText, Duration, Flag, Strict, as_text, expect, one_of, optional, refusal
from reconciler.manifests.loader import Plain
from reconciler.manifests.problems import FieldProblem

Path = Annotated[str, Field(max_length=4096), Predicate(os.path.isabs), expect("an absolute path", as_text)]
REPORT_SCHEMES = ("oci://", "oci+http://", "https://", "ssh://", "file://")
Variable = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"), expect("the name of an environment variable", as_text)
]


def _report_place(text: str) -> str:
    """A password in it is not shown. More is checked where it is opened."""
    if "@" in text.partition("://")[2] and not text.startswith("ssh://"):
        raise refusal(
            "an address without an account", Plain("one with @ in it"), "name it with credentials or tokenFile"
        )
    if "://" in text and not text.startswith(REPORT_SCHEMES):
        raise refusal("a folder, oci://HOST/REPOSITORY, or a git URL with #BRANCH", Plain(text))
    return text


PlaceText = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_report_place), expect("text", as_text)]


class RegistryCredentials(Strict):
    exclusive = (("file", "env"),)

    file: Path | None = optional("File with `user:password`, or with the JSON that `docker login` writes.")
    env: Variable | None = optional("Environment variable with the same.")


class ReportsTo(Strict):
    """Where this machine's reports go."""

    to: PlaceText = Field(
        description="A folder, oci://HOST/REPOSITORY, or the URL of a git repository with #BRANCH (default: reports)."
    )
    every: Duration | None = optional("Time between two reports without a change (default: 24h).")
    keys: Path | None = optional("Folder with the machines' public keys, NAME.pub, for reading what others report.")
    credentials: RegistryCredentials | None = optional(
        "The account of the registry. Default: that of a registry on the same host."
    )
    ca_file: Path | None = optional("Certificate of a private authority (PEM) of the registry.")
    token_file: Path | None = optional(
        "File with a token for https. Default: that of the repository, on the same host."
    )
    ssh_key: Path | None = optional("Private key for ssh. Default: that of the repository.")
    known_hosts: Path | None = optional("Host keys for ssh. Default: those of the repository.")
    allow_file: Flag = Field(default=False, description="Also allow file URLs.")

    @property
    def settings(self) -> ReportSettings:
        """As the rest of the program has it."""
        return ReportSettings(
            to=self.to,
            every=read_duration(self.every or "24h") or 0.0,
            keys=self.keys or "",
            credentials_file=(self.credentials and self.credentials.file) or "",
            credentials_variable=(self.credentials and self.credentials.env) or "",
            ca_file=self.ca_file or "",
            token_file=self.token_file or "",
            ssh_key=self.ssh_key or "",
            known_hosts=self.known_hosts or "",
            allow_file=self.allow_file,
        )


BackendName = Annotated[str, Predicate(BACKENDS.__contains__), one_of(BACKENDS)]


class Runtime(Strict):
    name: BackendName = Field(description="Which kind: foundry-local is 2.x, foundry-local-1 is 0.5 to 1.x.")
    cache: Path | None = optional("The folder in which it looks for models.")
    app: AnyText | None = optional("The application whose cache it is, where `cache` is not named (default: foundry).")
    sdk: Path | None = optional("Folder with foundry-local-sdk 1.x: models are then rehearsed in that runtime too.")

    @property
    def settings(self) -> BackendSettings:
        return BackendSettings(name=self.name, catalog=self.cache or "", app=self.app or "", sdk=self.sdk or "")


ProviderName = Annotated[str, Predicate(VARIABLES.__contains__), one_of(VARIABLES)]
ProviderLibraries = Annotated[
    dict[ProviderName, Path],
    Field(
        max_length=len(VARIABLES),
        description="Libraries of execution providers that are here already, for Foundry Local 2.x: it downloads none.",
    ),
]


def backends_of(
    name: str | None, runtimes: Sequence[Runtime], libraries: Mapping[str, str]
) -> tuple[BackendSettings, ...]:
    """None: the default one. `libraries` are of Foundry Local 2.x."""
    named = (BackendSettings(name=name),) if name else tuple(one.settings for one in runtimes)
    if not libraries:
        return named
    some = named or (BackendSettings(),)
    return tuple(replace(one, provider_libraries=libraries) if one.name in ("", DEFAULT) else one for one in some)


def runtime_problems(runtimes: Sequence[Runtime], beside: str) -> Iterator[FieldProblem]:
    """`beside` is a field that says the same of a single runtime, if there is one."""
    if runtimes and beside:
        yield (beside,), f"expected either {beside} or runtimes, got both", "name it in the first of runtimes"
    for number, one in enumerate(runtimes):
        if one.sdk and one.name == DEFAULT:
            message = f"expected no sdk beside {DEFAULT}, whose packages come with this program, got one"
            yield ("runtimes", number, "sdk"), message, ""
        for other in runtimes[:number]:
            if one.name == other.name:
                message = f"expected each kind of runtime once, got {shown(one.name)} again"
                yield ("runtimes", number, "name"), message, ""
            elif one.cache and one.cache == other.cache:  # guard: no two runtimes on one cache
                message = f"expected a cache of its own, got that of {other.name}"
                hint = "Foundry Local 2.x sends the names that older versions need in a cache to a public service"
                yield ("runtimes", number, "cache"), message, hint
