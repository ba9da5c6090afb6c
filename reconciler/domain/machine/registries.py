"""OCI registries that a machine uses: their addresses, and what its configuration says about each."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from reconciler.domain.machine.maintenance_windows import Permission
from reconciler.domain.machine.trust import Refusal
from reconciler.domain.measured import Fidelity

PULL, PUSH, BOTH = "pull", "push", "both"
ROLES = (PULL, PUSH, BOTH)
# Where a machine's artifacts come from (`convert:` of its configuration).
ConvertMode = Literal["local", "registry-only", "prefer-registry"]
LOCAL: Final = "local"
REGISTRY_ONLY: Final = "registry-only"
PREFER_REGISTRY: Final = "prefer-registry"
CONVERT_MODES = (LOCAL, REGISTRY_ONLY, PREFER_REGISTRY)
LONGEST = 512  # characters of an address

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_ADDRESS = re.compile(
    rf"(?P<origin>(?P<scheme>https?)://(?P<host>[a-z0-9.-]{{1,253}}|\[[0-9a-f:]{{2,45}}\])(?::[0-9]{{1,5}})?)"
    rf"/(?P<repository>{_PART}(?:/{_PART})*)"
)
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:]+)\]|(?P<name>[a-z0-9.-]+))(?::[0-9]*)?")


@dataclass(frozen=True, kw_only=True)
class RegistryAddress:
    """One repository of one registry. `origin` is `https://host:port`, without a slash at its end."""

    origin: str
    repository: str

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}"

    @property
    def host(self) -> str:
        return self.origin.partition("://")[2]

    @property
    def is_private(self) -> bool:
        """Whether others on the network cannot read what goes there, so that a password may."""
        return self.origin.startswith("https://") or is_loopback(self.host)


def read_address(text: str) -> RegistryAddress | None:
    """From `https://host:port/repository`; None for everything else, such as an address with a password in it."""
    found = _ADDRESS.fullmatch(text) if len(text) <= LONGEST else None
    return None if found is None else RegistryAddress(origin=found["origin"], repository=found["repository"])


def is_loopback(host: str) -> bool:
    """Whether it names this machine to itself, by an address or the name that nobody else can have. It may have a port,
    and nothing else."""
    found = _HOST.fullmatch(host)
    name = (found["v6"] or found["name"]) if found is not None else ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    """`mirrors` hold the same repository and are asked first, by digest only. The password is in a file or in an
    environment variable; neither is set where the registry asks for none. `of_many`: the file is of no registry alone,
    so it has to say by host whose its passwords are."""

    address: RegistryAddress
    role: str = PULL
    mirrors: tuple[RegistryAddress, ...] = ()
    credentials_file: str = ""
    credentials_variable: str = ""
    ca_file: str = ""
    of_many: bool = False

    @property
    def has_credentials(self) -> bool:
        return bool(self.credentials_file or self.credentials_variable)

    @property
    def pulls(self) -> bool:
        return self.role in (PULL, BOTH)

    @property
    def pushes(self) -> bool:
        return self.role in (PUSH, BOTH)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a registry has for a build key: the artifact's digest, and the bytes of it that this machine lacks.
    `signed_by` is the id of the trusted key that signed it, "" where none is asked for or none has; `fidelity` are the
    numbers that this key has signed, and `reference` is the digest of the reference answers."""

    registry: str
    digest: str
    missing: int
    signed_by: str = ""
    fidelity: Fidelity | None = None
    reference: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildClaim:
    """Who builds a key now, as a registry has it. Times are RFC 3339, UTC, by the registry's clock."""

    builder: str
    since: str
    until: str


@dataclass(frozen=True, kw_only=True)
class RegistryAnswers:
    """What the registries of a machine answered in this pass. `offers` are by build key. `unreached` says why one could
    not be asked, "" where all answered; `code` and `hint` are those of the error. `refused` are builds that are
    there and not offered, or only doubted, by build key. `turn` where this machine has not asked yet, because others go
    first."""

    offers: Mapping[str, Offer] = field(default_factory=dict)
    unreached: str = ""
    code: str = ""
    hint: str = ""
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    turn: Permission | None = None
