"""Where this machine reads the reports of others, for the rings of a Rollout: the place of its configuration, and the
keys of the machines that are known."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import replace

from reconciler.domain.errors import TemporaryError
from reconciler.domain.machine.registries import RegistrySettings
from reconciler.domain.machine_report import FORGED, VERIFIED, JudgedReport, ReportSettings
from reconciler.domain.rollout import Rollout
from reconciler.engine.machine import Machine
from reconciler.host.clock import now
from reconciler.machine_reports.keys import KeyFolder, entry_name
from reconciler.machine_reports.place import ReportPlace, refusal_mark
from reconciler.machine_reports.select import open_place
from reconciler.machine_reports.verify import read_report
from reconciler.planner.rollout import rings_by_name
from reconciler.sources.git.runner import Credentials


class RingReader:
    """Opens the place for each look. A machine is known by its key: NAME.pub in the folder of keys. Each call may raise
    a ReconcilerError."""

    def __init__(
        self, settings: ReportSettings, registries: tuple[RegistrySettings, ...], git: Credentials | None = None
    ) -> None:
        self._settings, self._registries, self._git = settings, registries, git

    def names(self) -> Collection[str]:
        """The machines that are known."""
        try:
            return KeyFolder(self._settings.keys).listed()
        except OSError as error:
            message = f"{self._settings.keys}: {error.strerror}"
            raise TemporaryError(message, hint="`keys` below `reports`, docs/fleet.md", code="KeysUnreadable") from None

    def rings(self, rollout: Rollout) -> Mapping[str, int]:
        """Of these, the ring of each by its name."""
        return rings_by_name(rollout, self.names())

    def refusing(self, releases: Collection[str], machines: Collection[str]) -> Collection[str]:
        """Of these machines, those that say to refuse one of these releases, by the marks in the place. Only an index:
        what a report says decides."""
        with self._place() as place:
            marks = place.marks()
        return {one for one in machines if any(refusal_mark(release, one) in marks for release in releases)}

    def read(self, machines: Iterable[str]) -> list[JudgedReport]:
        """Of those that are there, by the names under which they are found, which are those of the keys too."""
        keys, moment = KeyFolder(self._settings.keys), now()
        with self._place() as place:
            found = (one for one in place.some(machines) if not one.why)
            return [_named(read_report(one.entry, one.data, one.signature, keys, now=moment).judged) for one in found]

    def _place(self) -> closing[ReportPlace]:
        return closing(open_place(self._settings, self._registries, self._git))


def _named(one: JudgedReport) -> JudgedReport:
    if one.report is None or one.standing != VERIFIED:
        return one
    # guard: a report speaks for its own machine
    if entry_name(one.report.machine) != one.entry:
        return replace(one, standing=FORGED, why=f"it is the report of {one.report.machine}")
    return replace(one, report=replace(one.report, machine=one.entry))


def ring_reader(machine: Machine, git: Credentials | None = None) -> RingReader | None:
    """None where its configuration names no place or no keys: then nothing that others report counts."""
    settings = machine.traits.reports
    if settings is None or not settings.keys:
        return None
    return RingReader(settings, machine.traits.registries, git)
