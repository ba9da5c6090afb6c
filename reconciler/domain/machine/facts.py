"""What a machine finds out about itself, and what its configuration declares about it. Plain values."""

from dataclasses import dataclass, field

from reconciler.domain.machine.backends import BackendSettings
from reconciler.domain.machine.bandwidth import Bandwidth
from reconciler.domain.machine.maintenance_windows import Windows
from reconciler.domain.machine.registries import LOCAL, ConvertMode, RegistrySettings
from reconciler.domain.machine.trust import TrustPolicy
from reconciler.domain.machine_report import ReportSettings
from reconciler.domain.policy.policy import Policy
from reconciler.domain.quarantine import LIVES
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER
from reconciler.domain.text.units import Count


@dataclass(frozen=True, kw_only=True)
class Facts:
    """`os` is linux | darwin | windows, `arch` amd64 | arm64 | ... as container images name them; `cpus` are logical
    ones; `memory_bytes` is 0 where it is unknown."""

    os: str
    arch: str
    memory_bytes: Count = 0
    cpus: Count = 1
    execution_providers: tuple[str, ...] = (DEFAULT_PROVIDER.name,)


def serves_only(os: str, arch: str) -> str:
    """Why a machine of this kind cannot convert; "" when it can."""
    return "there is no PyTorch for Windows on Arm" if (os, arch) == ("windows", "arm64") else ""


@dataclass(frozen=True, kw_only=True)
class StorageLimits:
    """Bytes. `disk_quota` is what the root may use in all (None: no limit), `disk_reserve` what stays free."""

    disk_quota: Count | None = None
    disk_reserve: Count = 0


def disk_capacity(total: int, limits: StorageLimits) -> int:
    """Bytes that one model may take on a file system of `total` bytes, whatever is on it now."""
    most = total if limits.disk_quota is None else min(total or limits.disk_quota, limits.disk_quota)
    return max(most - limits.disk_reserve, 1) if most else 0


SHARE_OF_MEMORY = 0.8  # what one conversion may hold, where nothing else is configured


def conversion_limit(configured: int, total: int) -> int:
    """Bytes of memory that one conversion may hold: one that needs more is not begun, one that takes more is ended."""
    return configured or int(total * SHARE_OF_MEMORY)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes: `total` of the machine or its container (0: unknown), what of that is `free` for conversions now, and
    `limit`, what the configuration lets one of them hold (0: SHARE_OF_MEMORY)."""

    total: int = 0
    free: int = 0
    limit: int = 0


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a machine's configuration says it is. An empty name: what the machine calls itself."""

    name: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    limits: StorageLimits = StorageLimits()
    backends: tuple[BackendSettings, ...] = ()  # none: the default one
    source_roots: tuple[str, ...] = ()
    conversion_memory: int = 0  # bytes; 0: SHARE_OF_MEMORY
    registries: tuple[RegistrySettings, ...] = ()
    convert: ConvertMode = LOCAL
    trust: TrustPolicy = field(default_factory=TrustPolicy)
    policies: tuple[Policy, ...] = ()
    bandwidth: Bandwidth = Bandwidth()
    windows: Windows = Windows()
    time_zone: str = ""  # of the windows and of a budget's day; "": UTC
    quarantine_for: float | None = LIVES  # seconds; None: for ever
    reports: ReportSettings | None = None

    @property
    def pulls_from(self) -> tuple[RegistrySettings, ...]:
        return tuple(one for one in self.registries if one.pulls)

    @property
    def pushes_to(self) -> tuple[RegistrySettings, ...]:
        return tuple(one for one in self.registries if one.pushes)


def provider_libraries(traits: Traits) -> tuple[tuple[str, str], ...]:
    """Execution providers and the files of their libraries, as the configuration names them."""
    return tuple(pair for one in traits.backends for pair in sorted(one.provider_libraries.items()))
