"""What this machine did and promised, on disk: one document per variant, one each for the machine,
the conditions, the suspensions, the failures and the measurements, and a log of events. Each document is replaced at
once and carries its own sha256.

The world wins over the records. A lost or damaged document is never trusted: what it said is taken from the
served folders and the catalog while reading, and the next writer sets it aside and writes the rebuilt one.
Reading needs no lock and changes nothing; whoever writes holds the root's lock. Suspensions alone have a folder and a
lock of their own, because a person writes them while a daemon holds the root's.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from reconciler.domain.failures import RememberedFailure
from reconciler.domain.history import History, Rollback
from reconciler.domain.layout import Layout
from reconciler.domain.measured import Fidelity, Measured, MeasurementSet
from reconciler.domain.observed import Registration
from reconciler.domain.recorded import Condition, Recorded, RecordedRelease, Timing, completed
from reconciler.domain.release import Marker
from reconciler.domain.suspension import Suspension
from reconciler.gates.status import GateStatus
from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.state import documents, events, quarantine_ages
from reconciler.state.documents import Stored
from reconciler.state.event_follower import Follower
from reconciler.state.events import Event
from reconciler.state.forms import (
    FAILURES,
    HISTORY,
    MACHINE,
    MEASUREMENTS,
    PASS,
    ROLLBACKS,
    SUSPENSIONS,
    VARIANT,
    Accepted,
    FailureRecord,
    HistoryRecord,
    MachineRecord,
    PassRecord,
    RollbackRecord,
    SuspensionRecord,
    VariantRecord,
)

VARIANT_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
TIMINGS_KEPT = 50
MEASUREMENTS_KEPT = 200
BRANCHES_KEPT = 50

_NO_MACHINE = MachineRecord(last_attempted_revision="", last_applied_revision="", timings=())
_NO_PASS = PassRecord(conditions={})


class Records:
    """The records of one root. It reads documents anew at each call and remembers what `load` found."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.records
        self._variants = os.path.join(layout.records, "variants")
        self._histories = os.path.join(layout.records, "history")
        self._machine = Stored(self._at("machine.json"), MACHINE, _NO_MACHINE)
        self._conditions = Stored(self._at("conditions.json"), PASS, _NO_PASS)
        self._suspensions = Stored(
            self._at("suspended", "suspensions.json"), SUSPENSIONS, SuspensionRecord(suspensions=())
        )
        self._rollbacks = Stored(self._at("suspended", "rollbacks.json"), ROLLBACKS, RollbackRecord(rollbacks={}))
        self._failures = Stored(self._at("failures.json"), FAILURES, FailureRecord(failures=()))
        self._measurements = Stored(self._at("measurements.json"), MEASUREMENTS, MeasurementSet())
        self._quarantine = quarantine_ages.stored(layout)
        self._events = self._at("events.jsonl")
        self._unwritten: tuple[RememberedFailure, ...] | None = None  # failures that the disk did not take
        self._aside: list[str] = []
        self._known = Recorded()  # as last loaded: what a lost document is rebuilt from
        self._on_disk: dict[str, VariantRecord] = {}  # as last loaded

    def _at(self, *names: str) -> str:
        return os.path.join(self._folder, *names)

    def load(
        self, *, owner: str = "", markers: Iterable[Marker] = (), registrations: Iterable[Registration] = ()
    ) -> Recorded:
        """What is recorded, completed from what is served. Writes nothing."""
        damaged: list[str] = []
        variants = {}
        for name in documents.names_in(self._variants):
            variants[name] = self._stored_variant(name, _no_variant(name)).read(damaged.append)
        self._on_disk = variants
        machine = self._machine.read(damaged.append)
        recorded = Recorded(
            releases={name: one.release for name, one in variants.items() if one.release is not None},
            high_water={name: one.high_water for name, one in variants.items() if one.high_water},
            timings=machine.timings,
            last_attempted_revision=machine.last_attempted_revision,
            conditions=dict(machine.conditions),
            last_applied_revision=machine.last_applied_revision,
            suspensions=self._suspensions.read(damaged.append).suspensions,
            rollbacks=dict(self._rollbacks.read(damaged.append).rollbacks),
            failures=self._read_failures(damaged.append),
            measured=self._measurements.read(),
            # Most variants never had a second number, and then there is nothing to go back to.
            history={n: held for n, one in variants.items() if one.high_water > 1 and (held := self.history(n))},
            damaged=tuple(os.path.relpath(path, self._folder) for path in damaged),
        )
        self._known = completed(recorded, owner=owner, markers=markers, registrations=registrations)
        return self._known

    def conditions(self) -> dict[str, dict[str, Condition]]:
        """By variant and type, as the last pass found them. Apart from `load`, because no plan needs them."""
        return {variant: dict(held) for variant, held in self._conditions.read().conditions.items()}

    def judged(self) -> dict[str, GateStatus]:
        """By variant, the verdicts of its gates in the last pass."""
        return dict(self._conditions.read().gates)

    def damaged_beside(self) -> tuple[str, ...]:
        """The documents that `load` does not read and that cannot be trusted."""
        damaged: list[str] = []
        for one in (self._conditions, self._measurements, self._quarantine):
            one.read(damaged.append)
        for name in self.with_history():
            self._history(name).read(damaged.append)
        return tuple(os.path.relpath(path, self._folder) for path in damaged)

    def save_release(self, release: RecordedRelease) -> None:
        old = self._variant(release.variant)
        number = max(old.high_water, release.number)
        self._save_variant(replace(old, release=release, high_water=number))

    def follow(self, served: RecordedRelease) -> None:
        """What a variant was last seen to serve, if the records do not say so: a pass was killed between the name and
        the record of it, or the record was lost."""
        held = self._on_disk.get(served.variant, _no_variant(served.variant)).release
        if held is None or (held.number, held.release) != (served.number, served.release):
            self.save_release(served)

    def save_number(self, variant: str, number: int) -> None:
        """Given, whatever becomes of it: an id is never used for other content."""
        old = self._variant(variant)
        if number > old.high_water:
            self._save_variant(replace(old, high_water=number))

    def forget_release(self, variant: str) -> None:
        """It is served no more. Its numbers stay given."""
        self._save_variant(replace(self._variant(variant), release=None))
        held = self._conditions.read(self._set_aside)
        conditions = {name: one for name, one in held.conditions.items() if name != variant}
        gates = {name: one for name, one in held.gates.items() if name != variant}
        self._conditions.write(PassRecord(conditions=conditions, gates=gates))

    def history(self, variant: str) -> History:
        """Oldest first. What cannot be trusted is none: nothing can be made again from it."""
        return self._history(_checked(variant)).read().releases

    def with_history(self) -> list[str]:
        return documents.names_in(self._histories)

    def change_history(self, variant: str, change: Callable[[History], History]) -> None:
        stored = self._history(_checked(variant))
        old = stored.read(self._set_aside).releases
        new = change(old)
        if new != old:
            stored.write(HistoryRecord(variant=variant, releases=new))

    def _history(self, variant: str) -> Stored[HistoryRecord]:
        path = os.path.join(self._histories, variant + documents.ENDING)
        return Stored(path, HISTORY, HistoryRecord(variant=variant, releases=()), variant=variant)

    def save_conditions(
        self, conditions: Mapping[str, Mapping[str, Condition]], judged: Mapping[str, GateStatus] | None = None
    ) -> None:
        """By variant and type: these and no others. None: of the gates nothing is new."""
        new = PassRecord(conditions=conditions, gates=self.judged() if judged is None else judged)
        if not self._conditions.holds(new):
            self._conditions.read(self._set_aside)  # a damaged document is set aside, never just overwritten
            self._conditions.write(new)

    def save_suspensions(self, suspensions: Iterable[Suspension]) -> None:
        """All that there are. A damaged document is set aside first."""
        self._suspensions.read(self._set_aside)
        self._suspensions.write(SuspensionRecord(suspensions=tuple(suspensions)))

    def rollbacks(self) -> dict[str, Rollback]:
        """By variant, as they are on disk now."""
        return dict(self._rollbacks.read().rollbacks)

    def save_rollbacks(self, rollbacks: Mapping[str, Rollback]) -> None:
        """All that there are. A damaged document is set aside first."""
        self._rollbacks.read(self._set_aside)
        self._rollbacks.write(RollbackRecord(rollbacks=rollbacks))

    def failures(self) -> tuple[RememberedFailure, ...]:
        return self._read_failures(lambda path: None)

    def save_failures(self, failures: Iterable[RememberedFailure]) -> None:
        """All that there are; nothing is written where there never were any. What the disk does not take holds for
        this process: without a back-off a conversion would be tried again at once, for ever."""
        new = self._unwritten = tuple(failures)
        if new != self._failures.read(self._set_aside).failures:
            self._failures.write(FailureRecord(failures=new))
        self._unwritten = None

    def _read_failures(self, damaged: Callable[[str], None]) -> tuple[RememberedFailure, ...]:
        if self._unwritten is not None:
            return self._unwritten
        return self._failures.read(damaged).failures

    def save_attempted(self, revision: str) -> None:
        self._save_machine(replace(self._held_machine(), last_attempted_revision=revision))

    def save_applied(self, revision: str) -> None:
        self._save_machine(replace(self._held_machine(), last_applied_revision=revision))

    def save_machine_conditions(self, conditions: Mapping[str, Condition]) -> None:
        """Of the machine itself, by type: these and no others."""
        self._save_machine(replace(self._held_machine(), conditions=conditions))

    def accepted(self, url: str, branch: str) -> str:
        """The commit that was accepted last on this branch, or ""."""
        accepted = self._machine.read().accepted
        return next((one.commit for one in accepted if (one.url, one.branch) == (url, branch)), "")

    def save_accepted(self, url: str, branch: str, commit: str) -> None:
        old = self._held_machine()
        others = (one for one in old.accepted if (one.url, one.branch) != (url, branch))
        one = Accepted(url=url, branch=branch, commit=commit)
        self._save_machine(replace(old, accepted=(*others, one)[-BRANCHES_KEPT:]))

    def save_timing(self, action: str, precision: str, source_bytes: int, seconds: float) -> None:
        old = self._held_machine()
        timing = Timing(action=action, precision=precision, source_bytes=source_bytes, seconds=round(seconds, 3))
        self._save_machine(replace(old, timings=(*old.timings, timing)[-TIMINGS_KEPT:]))

    def measured(self) -> MeasurementSet:
        """As it is on disk now: a pass reads it again after each measurement."""
        return self._measurements.read()

    def save_measured(self, measured: Measured) -> None:
        """The newest last; the oldest go."""
        held = self._measurements.read(self._set_aside)
        others = {name: one for name, one in held.releases.items() if name != measured.release}
        self._save_known(replace(held, releases={**others, measured.release: measured}))

    def save_fidelity(self, fidelity: Fidelity) -> None:
        held = self._measurements.read(self._set_aside)
        others = {key: one for key, one in held.fidelity.items() if key != fidelity.build_key}
        self._save_known(replace(held, fidelity={**others, fidelity.build_key: fidelity}))

    def _save_known(self, known: MeasurementSet) -> None:
        kept = replace(
            known,
            fidelity=dict(list(known.fidelity.items())[-MEASUREMENTS_KEPT:]),
            releases=dict(list(known.releases.items())[-MEASUREMENTS_KEPT:]),
        )
        self._measurements.write(kept)

    @property
    def events_torn(self) -> bool:
        return events.is_torn(self._events)

    @property
    def event_log(self) -> str:
        """Where it lies, for those who follow it."""
        return self._events

    def append_event(self, event: Event) -> None:
        events.append(self._events, event)

    def events(self, limit: int | None = None) -> list[Event]:
        """The newest, in the order in which they happened."""
        return events.newest(self._events, limit)

    def follow_events(self) -> Follower:
        return Follower(self._events)

    def mend(self) -> None:
        """Write the damaged documents about variants anew, from what `load` rebuilt, and set those aside that nobody
        can rebuild. A damaged list of suspensions stays as it is: only a person knows what it said."""
        events.mend(self._events)
        for name in self.damaged_beside():
            self._set_aside(os.path.join(self._folder, name))
        for path in self._known.damaged:
            folder, name = os.path.split(path.removesuffix(documents.ENDING))
            if folder == os.path.basename(self._variants) and VARIANT_NAME.fullmatch(name):
                record = self._variant(name)  # this sets the damaged one aside
                if record != _no_variant(name):
                    self._save_variant(record)

    def take_aside(self) -> list[str]:
        """The damaged documents that were set aside since this was asked last, as they were named."""
        taken, self._aside = self._aside, []
        return taken

    def _set_aside(self, path: str) -> None:
        """Told, because it forgets: what only this document knew is known to nobody now."""
        documents.set_aside(path)
        name = f"records/{os.path.relpath(path, self._folder)}"
        self._aside.append(name)
        message = f"{name} was damaged and is kept beside it; what only it knew is forgotten"
        self.append_event({"time": now(), "type": "record.set-aside", "reason": "Damaged", "message": message})

    def sweep(self) -> None:
        """Remove what a killed writer left."""
        for folder in (self._folder, self._variants, self._histories):
            durable.sweep_temporaries(folder)

    def _variant(self, variant: str) -> VariantRecord:
        """As recorded; rebuilt if there is no document to be trusted."""
        rebuilt = VariantRecord(
            variant=variant,
            release=self._known.releases.get(variant),
            high_water=self._known.high_water.get(variant, 0),
        )
        return self._stored_variant(_checked(variant), rebuilt).read(self._set_aside)

    def _save_variant(self, record: VariantRecord) -> None:
        self._stored_variant(_checked(record.variant), record).write(record)

    def _stored_variant(self, variant: str, missing: VariantRecord) -> Stored[VariantRecord]:
        path = os.path.join(self._variants, variant + documents.ENDING)
        return Stored(path, VARIANT, missing, variant=variant)

    def _held_machine(self) -> MachineRecord:
        return self._machine.read(self._set_aside)

    def _save_machine(self, record: MachineRecord) -> None:
        self._machine.write(record)


def _no_variant(variant: str) -> VariantRecord:
    return VariantRecord(variant=variant, release=None, high_water=0)


def _checked(variant: str) -> str:
    if not VARIANT_NAME.fullmatch(variant):
        raise ValueError(f"{variant!r} is no name of a variant")
    return variant
