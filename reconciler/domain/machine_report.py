"""What a machine reports of itself, for those who decide or look elsewhere: rollouts, and the fleet's page.

`VariantReport` is written into the machine's inventory as it stands here (fleet.inventory); `MachineReport` is what a
reader makes of an inventory, and `JudgedReport` says what it is worth (machine_reports.verify). Plain values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from reconciler.domain.text.units import Count

READY, NOT_READY, UNKNOWN = "True", "False", "Unknown"  # a condition's status
REJECTED, ROLLED_BACK = "rejected", "rolled back"  # as domain.history names them

Standing = Literal["Verified", "Unsigned", "UnknownKey", "Forged", "Replayed", "TooOld", "Unreadable"]
VERIFIED: Final = "Verified"  # the machine's own key signed exactly this, and nothing newer was seen
UNSIGNED: Final = "Unsigned"  # there is no signature, or no key was asked for
UNKNOWN_KEY: Final = "UnknownKey"  # it is signed, and no key of this machine is known here
FORGED: Final = "Forged"  # its signature is not by this machine's key over these bytes
REPLAYED: Final = "Replayed"  # it is genuine, and a newer one was seen before
TOO_OLD: Final = "TooOld"  # it is genuine, and older than the reader accepts; or its time lies in the future
UNREADABLE: Final = "Unreadable"  # it is no report
AHEAD = 3600.0  # seconds that a machine's clock may be ahead of the reader's


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """One bar of a gate that was measured. `status` is Successful or Failed; `message` only where it failed."""

    gate: str
    measure: str
    status: str
    number: float | None = None
    bar: float | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class RefusedRelease:
    """A release that this machine does not serve any more, or never did: `outcome` is REJECTED (a gate or the rehearsal
    failed) or ROLLED_BACK. `when` is RFC 3339, UTC, "" where it is not known."""

    release: str
    outcome: str
    message: str = ""
    when: str = ""


@dataclass(frozen=True, kw_only=True)
class VariantReport:
    """One variant on one machine. `wanted` is the digest of the release that git declares at the applied commit, ""
    where nothing declares it; `serves` that of the release that answers now, as `variant:number`, since `since`.
    `gates` are about `wanted`. `ready` is the status of the condition Ready, with its reason and message."""

    variant: str
    model: str
    precision: str = ""
    wanted: str = ""
    serves: str = ""
    number: Count = 0
    since: str = ""
    ready: str = UNKNOWN
    reason: str = ""
    message: str = ""
    ready_since: str = ""  # when the condition Ready changed last
    gates: tuple[GateReport, ...] = ()
    refused: tuple[RefusedRelease, ...] = ()

    @property
    def converged(self) -> bool:
        """It serves what git wants."""
        return bool(self.wanted) and self.wanted == self.serves

    @property
    def is_ready(self) -> bool:
        """It serves what git wants, and its last pass said so."""
        return self.converged and self.ready == READY

    @property
    def failed_gates(self) -> tuple[GateReport, ...]:
        return tuple(one for one in self.gates if one.status == "Failed")

    @property
    def refused_now(self) -> str:
        """The release that git wants, where it was refused here: other machines find that by a mark. "" for none."""
        return self.wanted if self.wanted and not self.converged and self.refuses(self.wanted) else ""

    def refuses(self, release: str) -> RefusedRelease | None:
        """What became of a release here, if it was rejected or rolled back."""
        return next((one for one in self.refused if one.release == release), None)


@dataclass(frozen=True, kw_only=True)
class MachineReport:
    """One machine. `generated` is when its report was made, by its own clock (RFC 3339, UTC); `counter` only grows, 0
    where it was not made to travel (a receipt of `import`). `commit` is the revision that it applied last. `labels` are
    all that a selector may ask for. `left_out` names what did not fit."""

    machine: str
    labels: Mapping[str, str] = field(default_factory=dict)
    generated: str = ""
    counter: int = 0
    commit: str = ""
    variants: tuple[VariantReport, ...] = ()
    left_out: tuple[str, ...] = ()

    def variant(self, name: str) -> VariantReport | None:
        return next((one for one in self.variants if one.variant == name), None)

    def age(self, now: str) -> float | None:
        """Seconds since it was made, negative where it lies in the future; None where its time cannot be read."""
        try:
            return (datetime.fromisoformat(now) - datetime.fromisoformat(self.generated)).total_seconds()
        except (ValueError, TypeError):
            return None


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Where a machine's reports go, from its configuration: `to` is a folder, `oci://host/repository`, or the URL of a
    git repository with `#branch`. `every` are seconds between two reports without a change. `keys` is the folder of
    the machines' public keys, for reading what others report. Passwords and tokens are in files or variables."""

    to: str
    every: float = 86_400.0
    keys: str = ""
    credentials_file: str = ""
    credentials_variable: str = ""
    ca_file: str = ""
    token_file: str = ""
    ssh_key: str = ""
    known_hosts: str = ""
    allow_file: bool = False


@dataclass(frozen=True, kw_only=True)
class JudgedReport:
    """A report and what it is worth: `standing`, with `why` in words. Only a VERIFIED one may decide anything. `entry`
    is the name under which it was found. `report` is None where it is UNREADABLE."""

    entry: str
    standing: Standing
    why: str = ""
    report: MachineReport | None = None
