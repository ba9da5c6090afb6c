"""Two sections of a machine's configuration: the account of a registry, and where the machine's reports go."""

import os.path
from typing import Annotated

from annotated_types import Predicate
from pydantic import AfterValidator, Field

from reconciler.domain.machine_report import ReportSettings
from reconciler.domain.text.units import read_duration
from reconciler.manifests.fields import Duration, Flag, Strict, as_text, expect, optional, refusal
from reconciler.manifests.loader import Plain

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
