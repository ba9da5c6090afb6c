"""What this machine did and promised, on disk: one document per variant, one each for the machine,
the conditions, the suspensions, the failures and the measurements, and a log of events. Each document is replaced at
once and carries its own sha256.

The world wins over the records. A lost or damaged document is never trusted: what it said is taken from the
served folders and the catalog while reading, and the next writer sets it aside and writes the rebuilt one.
Reading needs no lock and changes nothing; whoever writes holds the root's lock. Suspensions alone have a folder and a
lock of their own, because a person writes them while a daemon holds the root's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from reconciler.domain.failures import RememberedFailure
from reconciler.domain.history import History, Rollback
from reconciler.domain.layout import Layout
from reconciler.domain.measured import Fidelity, Known, Measured
from reconciler.domain.observed import Registration
from reconciler.domain.recorded import Condition, Recorded, RecordedRelease, Timing, completed
from reconciler.domain.release import Marker
from reconciler.domain.suspension import Suspension
from reconciler.gates.judged import Judged
from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.host.sealed import Damaged
from reconciler.state import documents, events, quarantined
from reconciler.state.documents import Document
from reconciler.state.event_follower import Follower
from reconciler.state.events import Event
from reconciler.state.forms import (
    Accepted,
    MachineRecord,
    PassRecord,
    VariantRecord,
    read_failures,
    read_machine,
    read_pass,
    read_suspensions,
    read_variant,
    write_failures,
    write_machine,
    write_pass,
    write_suspensions,
    write_variant,
)
from reconciler.state.history_form import read_history, read_rollbacks, write_history, write_rollbacks
from reconciler.state.measured_form import read_measured, write_measured

T = TypeVar("T")

VARIANT = re.compile(r"[a-z0-9][a-z0-9.-]*")
TIMINGS_KEPT = 50
MEASUREMENTS_KEPT = 200
NONE: tuple[Suspension, ...] = ()
NO_FAILURES: tuple[RememberedFailure, ...] = ()
NO_HISTORY: History = ()
NO_ROLLBACKS: dict[str, Rollback] = {}
BRANCHES_KEPT = 50


class Records:
    def __init__(self, layout: Layout) -> None:
        self._folder = layout.records
        self._variants = os.path.join(layout.records, "variants")
        self._histories = os.path.join(layout.records, "history")
        self._machine = os.path.join(layout.records, "machine.json")
        self._conditions = os.path.join(layout.records, "conditions.json")
        self._suspensions = os.path.join(layout.suspended, "suspensions.json")
        self._rollbacks = os.path.join(layout.suspended, "rollbacks.json")
        self._failures = os.path.join(layout.records, "failures.json")
        self._measurements = os.path.join(layout.records, "measurements.json")
        self._events = os.path.join(layout.records, "events.jsonl")
        self._unwritten: tuple[RememberedFailure, ...] | None = None  # failures that the disk did not take
        self._aside: list[str] = []
        self._known = Recorded()  # as last loaded: what a lost document is rebuilt from
        self._on_disk: dict[str, VariantRecord] = {}  # as last loaded

    def load(
        self,
        *,
        owner: str = "",
        markers: Iterable[Marker] = (),
        registrations: Iterable[Registration] = (),
    ) -> Recorded:
        """What is recorded, completed from what is served. Writes nothing."""
        damaged: list[str] = []
        variants = {}
        for name in documents.names_in(self._variants):
            path = os.path.join(self._variants, name + documents.ENDING)
            variants[name] = _read(path, partial(read_variant, name), VariantRecord(), damaged.append)
        self._on_disk = variants
        machine = _read(self._machine, read_machine, MachineRecord(), damaged.append)
        suspensions = _read(self._suspensions, read_suspensions, NONE, damaged.append)
        recorded = Recorded(
            releases={name: one.release for name, one in variants.items() if one.release is not None},
            high_water={name: one.high_water for name, one in variants.items() if one.high_water},
            timings=machine.timings,
            last_attempted_revision=machine.last_attempted_revision,
            conditions=dict(machine.conditions),
            last_applied_revision=machine.last_applied_revision,
            suspensions=suspensions,
            rollbacks=_read(self._rollbacks, read_rollbacks, NO_ROLLBACKS, damaged.append),
            failures=self._read_failures(damaged.append),
            measured=_read(self._measurements, read_measured, Known(), lambda path: None),
            # Most variants never had a second number, and then there is nothing to go back to.
            history={
                n: held for n, one in variants.items() if one.high_water > 1 and (held := self.history(n))
            },
            damaged=tuple(os.path.relpath(path, self._folder) for path in damaged),
        )
        self._known = completed(recorded, owner=owner, markers=markers, registrations=registrations)
        return self._known

    def conditions(self) -> dict[str, dict[str, Condition]]:
        """By variant and type, as the last pass judged them. Apart from `load`, because no plan needs them."""
        return self._last_pass().conditions

    def judged(self) -> dict[str, Judged]:
        """By variant, what its gates said in the last pass."""
        return self._last_pass().judged

    def damaged_beside(self) -> tuple[str, ...]:
        """The documents that `load` does not read and that cannot be trusted."""
        damaged: list[str] = []
        forms: dict[str, Callable[[Document], object]] = {
            self._conditions: read_pass,
            self._measurements: read_measured,
            os.path.join(self._folder, quarantined.NAME): quarantined.read_form,
        }
        for name in documents.names_in(self._histories):
            forms[os.path.join(self._histories, name + documents.ENDING)] = partial(read_history, name)
        for path, form in forms.items():
            _read(path, form, None, damaged.append)
        return tuple(os.path.relpath(path, self._folder) for path in damaged)

    def save_release(self, release: RecordedRelease) -> None:
        old = self._variant(release.variant)
        number = max(old.high_water, release.number)
        self._save_variant(release.variant, VariantRecord(release=release, high_water=number))

    def follow(self, served: RecordedRelease) -> None:
        """What a variant was last seen to serve, if the records do not say so: a pass was killed between the name and
        the record of it, or the record was lost."""
        held = self._on_disk.get(served.variant, VariantRecord()).release
        if held is None or (held.number, held.release) != (served.number, served.release):
            self.save_release(served)

    def save_number(self, variant: str, number: int) -> None:
        """Given, whatever becomes of it: an id is never used for other content."""
        old = self._variant(variant)
        if number > old.high_water:
            self._save_variant(variant, replace(old, high_water=number))

    def forget_release(self, variant: str) -> None:
        """It is served no more. Its numbers stay given."""
        self._save_variant(variant, replace(self._variant(variant), release=None))
        held = self._held_pass()
        conditions = {name: one for name, one in held.conditions.items() if name != variant}
        judged = {name: one for name, one in held.judged.items() if name != variant}
        documents.write(self._conditions, write_pass(conditions, judged))

    def history(self, variant: str) -> History:
        """Oldest first. What cannot be trusted is none: nothing can be made again from it."""
        return self._history(variant, lambda path: None)

    def with_history(self) -> list[str]:
        return documents.names_in(self._histories)

    def change_history(self, variant: str, change: Callable[[History], History]) -> None:
        old = self._history(variant, self._set_aside)
        new = change(old)
        if new != old:
            documents.write(self._history_path(variant), write_history(variant, new))

    def _history(self, variant: str, damaged: Callable[[str], None]) -> History:
        return _read(self._history_path(variant), partial(read_history, variant), NO_HISTORY, damaged)

    def _history_path(self, variant: str) -> str:
        return os.path.join(self._histories, _checked(variant) + documents.ENDING)

    def save_conditions(
        self,
        conditions: Mapping[str, Mapping[str, Condition]],
        judged: Mapping[str, Judged] | None = None,
    ) -> None:
        """By variant and type: these and no others. None: of the gates nothing is new."""
        new = write_pass(conditions, self.judged() if judged is None else judged)
        if not documents.holds(self._conditions, new):
            self._held_pass()  # a damaged document is set aside, never just overwritten
            documents.write(self._conditions, new)

    def save_suspensions(self, suspensions: Iterable[Suspension]) -> None:
        """All that there are. A damaged document is set aside first."""
        _read(self._suspensions, read_suspensions, NONE, self._set_aside)
        documents.write(self._suspensions, write_suspensions(suspensions))

    def rollbacks(self) -> dict[str, Rollback]:
        """By variant, as they are on disk now."""
        return _read(self._rollbacks, read_rollbacks, NO_ROLLBACKS, lambda path: None)

    def save_rollbacks(self, rollbacks: Mapping[str, Rollback]) -> None:
        """All that there are. A damaged document is set aside first."""
        _read(self._rollbacks, read_rollbacks, NO_ROLLBACKS, self._set_aside)
        documents.write(self._rollbacks, write_rollbacks(rollbacks))

    def failures(self) -> tuple[RememberedFailure, ...]:
        return self._read_failures(lambda path: None)

    def save_failures(self, failures: Iterable[RememberedFailure]) -> None:
        """All that there are; nothing is written where there never were any. What the disk does not take holds for
        this process: without a back-off a conversion would be tried again at once, for ever."""
        new = self._unwritten = tuple(failures)
        held = _read(self._failures, read_failures, NO_FAILURES, self._set_aside)
        if new != held:
            documents.write(self._failures, write_failures(new))
        self._unwritten = None

    def _read_failures(self, damaged: Callable[[str], None]) -> tuple[RememberedFailure, ...]:
        if self._unwritten is not None:
            return self._unwritten
        return _read(self._failures, read_failures, NO_FAILURES, damaged)

    def save_attempted(self, revision: str) -> None:
        self._save_machine(replace(self._held_machine(), last_attempted_revision=revision))

    def save_applied(self, revision: str) -> None:
        self._save_machine(replace(self._held_machine(), last_applied_revision=revision))

    def save_machine_conditions(self, conditions: Mapping[str, Condition]) -> None:
        """Of the machine itself, by type: these and no others."""
        self._save_machine(replace(self._held_machine(), conditions=conditions))

    def accepted(self, url: str, branch: str) -> str:
        """The commit that was accepted last on this branch, or ""."""
        machine = _read(self._machine, read_machine, MachineRecord(), lambda path: None)
        return next((one.commit for one in machine.accepted if (one.url, one.branch) == (url, branch)), "")

    def save_accepted(self, url: str, branch: str, commit: str) -> None:
        old = self._held_machine()
        others = (one for one in old.accepted if (one.url, one.branch) != (url, branch))
        one = Accepted(url=url, branch=branch, commit=commit)
        self._save_machine(replace(old, accepted=(*others, one)[-BRANCHES_KEPT:]))

    def save_timing(self, action: str, precision: str, source_bytes: int, seconds: float) -> None:
        old = self._held_machine()
        timing = Timing(
            action=action, precision=precision, source_bytes=source_bytes, seconds=round(seconds, 3)
        )
        self._save_machine(replace(old, timings=(*old.timings, timing)[-TIMINGS_KEPT:]))

    def measured(self) -> Known:
        """As it is on disk now: a pass reads it again after each measurement."""
        return _read(self._measurements, read_measured, Known(), lambda path: None)

    def save_measured(self, measured: Measured) -> None:
        """The newest last; the oldest go."""
        held = _read(self._measurements, read_measured, Known(), self._set_aside)
        others = {name: one for name, one in held.releases.items() if name != measured.release}
        self._save_known(replace(held, releases={**others, measured.release: measured}))

    def save_fidelity(self, fidelity: Fidelity) -> None:
        held = _read(self._measurements, read_measured, Known(), self._set_aside)
        others = {key: one for key, one in held.fidelity.items() if key != fidelity.build_key}
        self._save_known(replace(held, fidelity={**others, fidelity.build_key: fidelity}))

    def _save_known(self, known: Known) -> None:
        kept = replace(
            known,
            fidelity=dict(list(known.fidelity.items())[-MEASUREMENTS_KEPT:]),
            releases=dict(list(known.releases.items())[-MEASUREMENTS_KEPT:]),
        )
        documents.write(self._measurements, write_measured(kept))

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
            if folder == os.path.basename(self._variants) and VARIANT.fullmatch(name):
                record = self._variant(name)  # this sets the damaged one aside
                if record != VariantRecord():
                    self._save_variant(name, record)

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
        self.append_event(
            {"time": now(), "type": "record.set-aside", "reason": "Damaged", "message": message}
        )

    def sweep(self) -> None:
        """Remove what a killed writer left."""
        for folder in (self._folder, self._variants, self._histories):
            durable.sweep_temporaries(folder)

    def _variant(self, variant: str) -> VariantRecord:
        """As recorded; rebuilt if there is no document to be trusted."""
        rebuilt = VariantRecord(
            release=self._known.releases.get(variant), high_water=self._known.high_water.get(variant, 0)
        )
        path = self._variant_path(variant)
        return _read(path, partial(read_variant, variant), rebuilt, self._set_aside)

    def _save_variant(self, variant: str, record: VariantRecord) -> None:
        documents.write(self._variant_path(variant), write_variant(variant, record))

    def _variant_path(self, variant: str) -> str:
        return os.path.join(self._variants, _checked(variant) + documents.ENDING)

    def _held_machine(self) -> MachineRecord:
        return _read(self._machine, read_machine, MachineRecord(), self._set_aside)

    def _save_machine(self, record: MachineRecord) -> None:
        documents.write(self._machine, write_machine(record))

    def _last_pass(self) -> PassRecord:
        return _read(self._conditions, read_pass, PassRecord(), lambda path: None)

    def _held_pass(self) -> PassRecord:
        return _read(self._conditions, read_pass, PassRecord(), self._set_aside)


def _checked(variant: str) -> str:
    if not VARIANT.fullmatch(variant):
        raise ValueError(f"{variant!r} is no name of a variant")
    return variant


def _read(path: str, form: Callable[[Document], T], missing: T, damaged: Callable[[str], None]) -> T:
    """`missing` also for a document that cannot be trusted; `damaged` is told of it first."""
    try:
        held = documents.read(path, form)
        return missing if held is None else held
    except Damaged:
        damaged(path)
        return missing
