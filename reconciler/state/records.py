"""What this machine did and promised, on disk: one document per variant, one each for the machine, the conditions, the
suspensions, the failures and the measurements, and a log of events. Each document is replaced as a whole and carries
its own sha256.

What is served wins over the records. A lost or damaged document is never trusted: reading takes its content from the
served folders and the catalog, and the next write sets it aside and writes the rebuilt one.
Reading needs no lock and changes nothing; writing needs the root's lock. Only suspensions and roll-backs have a folder
and a lock of their own, because a user writes them while a daemon holds the root's.
"""

import os
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from reconciler.domain.failures import RememberedFailure, RetryRequest
from reconciler.domain.history import History, Rollback
from reconciler.domain.layout import Layout
from reconciler.domain.machine.trust import Origin
from reconciler.domain.measured import Fidelity, Measured, MeasurementSet
from reconciler.domain.observed import Registration
from reconciler.domain.quarantine import Ages, is_ours
from reconciler.domain.recorded import Condition, Recorded, RecordedRelease, Suspension, Timing, completed
from reconciler.domain.reference import Comparison, Reference
from reconciler.domain.release import Marker
from reconciler.gates.judgement import GateStatus
from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.host.codec import Codec
from reconciler.state import documents, events
from reconciler.state.documents import Stored
from reconciler.state.events import Event
from reconciler.state.forms import (
    DEPENDENCIES,
    FAILURES,
    HISTORY,
    MACHINE,
    MEASUREMENTS,
    ORIGINS,
    PASS,
    QUARANTINE,
    RETRIES,
    ROLLBACKS,
    SUSPENSIONS,
    VARIANT,
    Accepted,
    HistoryRecord,
    MachineRecord,
    PassRecord,
    VariantRecord,
    restored,
    stored,
)
from reconciler.state.references import References

VARIANT_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
TIMINGS_KEPT = 50
MEASUREMENTS_KEPT = 200
ORIGINS_KEPT = 1000  # of artifacts that are here no more
BRANCHES_KEPT = 50
NO_MACHINE = MachineRecord(last_attempted_revision="", last_applied_revision="", timings=())

T = TypeVar("T")


class Records:
    """The records of one root. It reads documents anew at each call and remembers what `load` found."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.records
        self._variants = os.path.join(layout.records, "variants")
        self._histories = os.path.join(layout.records, "history")
        self._machine = self._stored("machine", MACHINE, NO_MACHINE)
        self._conditions = self._stored("conditions", PASS, PassRecord(conditions={}))
        self._suspensions = self._stored("suspended/suspensions", SUSPENSIONS, ())
        self._rollbacks = self._stored("suspended/rollbacks", ROLLBACKS, {})
        self._retries = self._stored("suspended/retries", RETRIES, ())
        self._dependencies = self._stored("dependencies", DEPENDENCIES, {})
        self._failures = self._stored("failures", FAILURES, ())
        self._measurements = self._stored("measurements", MEASUREMENTS, MeasurementSet())
        self._origins = self._stored("origins", ORIGINS, ())
        self._quarantine = self._stored("quarantine", QUARANTINE, Ages())
        self._references = References(os.path.join(self._folder, "references"))
        self.event_log = os.path.join(self._folder, "events.jsonl")
        self._unwritten: tuple[RememberedFailure, ...] | None = None  # failures that the disk did not take
        self._aside: list[str] = []
        self._known = Recorded()  # as last loaded: a lost document is rebuilt from it
        self._on_disk: dict[str, VariantRecord] = {}  # as last loaded

    def _stored(self, name: str, codec: Codec[T], missing: T, variant: str = "") -> Stored[T]:
        return Stored(os.path.join(self._folder, name + documents.ENDING), codec, missing, variant=variant)

    def load(
        self, *, owner: str = "", markers: Iterable[Marker] = (), registrations: Iterable[Registration] = ()
    ) -> Recorded:
        """What is recorded, completed from what is served. Writes nothing."""
        damaged: list[str] = []
        variants = self._on_disk = {
            name: self._stored_variant(_no_variant(name)).read(damaged.append)
            for name in documents.names_in(self._variants)
        }
        machine = self._machine.read(damaged.append)
        recorded = Recorded(
            releases={name: one.release for name, one in variants.items() if one.release is not None},
            high_water={name: one.high_water for name, one in variants.items() if one.high_water},
            timings=machine.timings,
            last_attempted_revision=machine.last_attempted_revision,
            conditions=restored(machine.conditions),
            last_applied_revision=machine.last_applied_revision,
            suspensions=self._suspensions.read(damaged.append),
            rollbacks=dict(self._rollbacks.read(damaged.append)),
            failures=self.failures(damaged.append),
            depends_on=self.dependencies(),
            measured=self._measurements.read(),
            origins=self.origins(),
            # Most variants never had a second number, and then there is nothing to go back to.
            history={n: held for n, one in variants.items() if one.high_water > 1 and (held := self.history(n))},
            damaged=tuple(documents.name_in(self._folder, path) for path in damaged),
        )
        self._known = completed(recorded, owner=owner, markers=markers, registrations=registrations)
        return self._known

    def conditions(self) -> dict[str, dict[str, Condition]]:
        """By variant and type, as the last pass found them. Not part of `load`, because no plan needs them."""
        return {variant: restored(held) for variant, held in self._conditions.read().conditions.items()}

    def judged(self) -> dict[str, GateStatus]:
        """By variant, the verdicts of its gates in the last pass."""
        return dict(self._conditions.read().gates)

    def damaged_beside(self) -> tuple[str, ...]:
        """The documents that `load` does not read and that cannot be trusted."""
        damaged: list[str] = []
        for one in (self._conditions, self._measurements, self._origins, self._quarantine, self._dependencies):
            one.read(damaged.append)
        for name in self.with_history():
            self._history(name).read(damaged.append)
        return tuple(documents.name_in(self._folder, path) for path in damaged)

    def save_release(self, release: RecordedRelease) -> None:
        high_water = max(self._variant(release.variant).high_water, release.number)
        self._change_variant(release.variant, release=release, high_water=high_water)

    def follow(self, served: Marker, *, registered: str) -> None:
        """Record what a variant serves, if the records say otherwise: a pass was killed between the name and the record
        of it, or the record was lost."""
        known = self._on_disk.get(served.variant)
        held = known.release if known else None
        if held is None or (held.number, held.release) != (served.number, served.release):
            self.save_release(RecordedRelease.from_marker(served, registered=registered))

    def save_number(self, variant: str, number: int) -> None:
        """The number counts as used from now on: an id is never used for other content."""
        if number > self._variant(variant).high_water:
            self._change_variant(variant, high_water=number)

    def forget_release(self, variant: str) -> None:
        """It is served no more. Its numbers stay used."""
        self._change_variant(variant, release=None)
        held = self._conditions.read(self._set_aside)
        conditions = {name: one for name, one in held.conditions.items() if name != variant}
        gates = {name: one for name, one in held.gates.items() if name != variant}
        self._conditions.write(replace(held, conditions=conditions, gates=gates))

    def history(self, variant: str) -> History:
        """Oldest first. A damaged one counts as empty: nothing can be made again from it."""
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
        return self._stored(f"history/{variant}", HISTORY, HistoryRecord(variant=variant, releases=()), variant)

    def wanted(self) -> dict[str, str]:
        """By variant, the digest of the release that git declared in the last pass."""
        return dict(self._conditions.read().wanted)

    def save_conditions(self, conditions: Mapping[str, Mapping[str, Condition]], **news: Any) -> None:
        """By variant and type: these and no others. `news` are other fields of PassRecord; the rest of them stay."""
        held = self._conditions.read(self._set_aside)  # a damaged document is set aside, never just overwritten
        new = {variant: stored(one) for variant, one in conditions.items()}
        self._conditions.write(replace(held, conditions=new, **news))

    def save_suspensions(self, suspensions: Iterable[Suspension]) -> None:
        """All that there are."""
        self._replace(self._suspensions, tuple(suspensions))

    def rollbacks(self) -> dict[str, Rollback]:
        """By variant, as they are on disk now."""
        return dict(self._rollbacks.read())

    def save_rollbacks(self, rollbacks: Mapping[str, Rollback]) -> None:
        """All that there are."""
        self._replace(self._rollbacks, dict(rollbacks))

    def _replace(self, stored: Stored[T], value: T) -> None:
        stored.read(self._set_aside)  # a damaged document is set aside, never just overwritten
        stored.write(value)

    def retries(self) -> tuple[RetryRequest, ...]:
        """What a user asked to be tried again."""
        return self._retries.read()

    def save_retries(self, requests: Iterable[RetryRequest]) -> None:
        """All that there are."""
        self._replace(self._retries, tuple(requests))

    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """By model, what it depended on when it was declared last. A damaged document counts as none: then only the
        order of prunes is lost."""
        return dict(self._dependencies.read())

    def save_dependencies(self, dependencies: Mapping[str, tuple[str, ...]]) -> None:
        """All that there are; nothing is written where there never were any."""
        new = {model: tuple(names) for model, names in dependencies.items()}
        if new != self._dependencies.read(self._set_aside):
            self._dependencies.write(new)

    def failures(self, damaged: Callable[[str], object] = lambda path: None) -> tuple[RememberedFailure, ...]:
        return self._failures.read(damaged) if self._unwritten is None else self._unwritten

    def save_failures(self, failures: Iterable[RememberedFailure]) -> None:
        """All that there are; nothing is written where there never were any. When the disk refuses them, this process
        still knows them: without a back-off a conversion would be tried again at once, for ever."""
        new = self._unwritten = tuple(failures)
        if new != self._failures.read(self._set_aside):
            self._failures.write(new)
        self._unwritten = None

    def save_attempted(self, revision: str) -> None:
        self._change_machine(last_attempted_revision=revision)

    def save_applied(self, revision: str) -> None:
        self._change_machine(last_applied_revision=revision)

    def save_machine_conditions(self, conditions: Mapping[str, Condition]) -> None:
        """Of the machine itself, by type: these and no others."""
        self._change_machine(conditions=stored(conditions))

    def accepted(self, url: str, branch: str) -> str:
        """The commit that was accepted last on this branch, or ""."""
        accepted = self._machine.read().accepted
        return next((one.commit for one in accepted if (one.url, one.branch) == (url, branch)), "")

    def save_accepted(self, url: str, branch: str, commit: str) -> None:
        accepted = self._machine.read().accepted
        others = (one for one in accepted if (one.url, one.branch) != (url, branch))
        one = Accepted(url=url, branch=branch, commit=commit)
        self._change_machine(accepted=(*others, one)[-BRANCHES_KEPT:])

    def save_timing(self, action: str, precision: str, source_bytes: int, seconds: float) -> None:
        timing = Timing(action=action, precision=precision, source_bytes=source_bytes, seconds=round(seconds, 3))
        self._change_machine(timings=(*self._machine.read().timings, timing)[-TIMINGS_KEPT:])

    def measured(self) -> MeasurementSet:
        """As it is on disk now: a pass reads it again after each measurement."""
        return self._measurements.read()

    def save_measured(self, measured: Measured) -> None:
        held = self._measurements.read(self._set_aside)
        self._measurements.write(replace(held, releases=_with_newest(held.releases, measured.release, measured)))

    def save_fidelity(self, fidelity: Fidelity) -> None:
        held = self._measurements.read(self._set_aside)
        self._measurements.write(replace(held, fidelity=_with_newest(held.fidelity, fidelity.build_key, fidelity)))

    def save_comparison(self, comparison: Comparison) -> None:
        """Its reference answers first: whoever finds the numbers compares no more."""
        fidelity, known = comparison.fidelity, self._measurements.read().fidelity
        if comparison.reference is not None:
            self._references.write(comparison.reference, known)
        else:
            self._references.forget(fidelity.build_key)
        self.save_fidelity(fidelity)

    def reference(self, build_key: str) -> Reference | None:
        """What came with the comparison of this artifact, as it is on disk now."""
        return self._references.read(build_key)

    def save_artifact(self, build_key: str, digest: str) -> None:
        """Numbers that were measured of other bytes under this key count no more, for no release."""
        held = self._measurements.read(self._set_aside)
        if held.artifacts.get(build_key) == digest:
            return
        self._references.forget(build_key)
        fidelity = {key: one for key, one in held.fidelity.items() if key != build_key}
        # guard: numbers of other bytes are forgotten
        releases = {name: one for name, one in held.releases.items() if one.build_key != build_key}
        artifacts = _with_newest(held.artifacts, build_key, digest)
        self._measurements.write(replace(held, fidelity=fidelity, releases=releases, artifacts=artifacts))

    def origins(self) -> dict[str, Origin]:
        """By the digest of their artifact, as they are on disk now."""
        return {one.artifact: one for one in self._origins.read()}

    def save_origin(self, origin: Origin, stored: Container[str]) -> None:
        """`stored` are the digests of the artifacts that are here: what is known of them is never dropped."""
        others = [one for one in self._origins.read(self._set_aside) if one.artifact != origin.artifact]
        gone = [one for one in others if one.artifact not in stored]
        # guard: where a stored artifact comes from is not forgotten
        dropped = gone[:-ORIGINS_KEPT]
        self._origins.write((*(one for one in others if one not in dropped), origin))

    def forget_origin(self, artifact: str) -> None:
        """It was converted here too."""
        held = self._origins.read(self._set_aside)
        if any(one.artifact == artifact for one in held):
            self._origins.write(tuple(one for one in held if one.artifact != artifact))

    def quarantine_ages(self) -> Ages:
        """A damaged document counts as none: everything in quarantine is then new again, and goes later."""
        held = self._quarantine.read()
        return replace(held, seconds={name: age for name, age in held.seconds.items() if is_ours(name)})

    def save_quarantine_ages(self, ages: Ages) -> None:
        self._quarantine.write(ages)

    def add_event(self, kind: str, **facts: object) -> None:
        self.append_event({"time": now(), "type": kind, **facts})

    def append_event(self, event: Event) -> None:
        events.append(self.event_log, event)

    def events(self, limit: int | None = None) -> list[Event]:
        """The newest, in the order in which they happened."""
        return events.newest(self.event_log, limit)

    def mend(self) -> None:
        """Write the damaged documents about variants anew, from what `load` rebuilt, and set those aside that cannot be
        rebuilt. A damaged list of suspensions stays: only the user knows what it held."""
        events.mend(self.event_log)
        for name in self.damaged_beside():
            self._set_aside(os.path.join(self._folder, name))
        for path in self._known.damaged:
            folder, name = os.path.split(path.removesuffix(documents.ENDING))
            if folder == os.path.basename(self._variants) and VARIANT_NAME.fullmatch(name):
                record = self._variant(name)  # this sets the damaged one aside
                if record != _no_variant(name):
                    self._change_variant(name)

    def take_aside(self) -> list[str]:
        """The names of the damaged documents that were set aside since the last call."""
        taken, self._aside = self._aside, []
        return taken

    def _set_aside(self, path: str) -> None:
        """With an event, because what only this document knew is lost."""
        durable.set_aside(path)
        name = f"records/{documents.name_in(self._folder, path)}"
        self._aside.append(name)
        message = f"{name} was damaged and is kept beside it; what only it knew is forgotten"
        self.add_event("record.set-aside", reason="Damaged", message=message)

    def sweep(self) -> None:
        """Remove what a killed writer left."""
        for folder in (self._folder, self._variants, self._histories, self._references.folder):
            durable.sweep_temporaries(folder)

    def _variant(self, variant: str) -> VariantRecord:
        """As recorded; rebuilt if there is no document to be trusted."""
        rebuilt = VariantRecord(
            variant=_checked(variant),
            release=self._known.releases.get(variant),
            high_water=self._known.high_water.get(variant, 0),
        )
        return self._stored_variant(rebuilt).read(self._set_aside)

    def _change_variant(self, variant: str, **changes: Any) -> None:
        record = replace(self._variant(variant), **changes)
        self._stored_variant(record).write(record)

    def _stored_variant(self, missing: VariantRecord) -> Stored[VariantRecord]:
        return self._stored(f"variants/{missing.variant}", VARIANT, missing, missing.variant)

    def _change_machine(self, **changes: Any) -> None:
        self._machine.write(replace(self._machine.read(self._set_aside), **changes))


def _no_variant(variant: str) -> VariantRecord:
    return VariantRecord(variant=variant, release=None, high_water=0)


def _with_newest(held: Mapping[str, T], key: str, new: T) -> dict[str, T]:
    others = {name: one for name, one in held.items() if name != key}
    return dict([*others.items(), (key, new)][-MEASUREMENTS_KEPT:])


def _checked(variant: str) -> str:
    if not VARIANT_NAME.fullmatch(variant):
        raise ValueError(f"{variant!r} is no name of a variant")
    return variant
