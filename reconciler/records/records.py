"""What this machine did and promised, on disk: one document per variant, one for the machine, one for
measurements, and a log of events. Each document is replaced at once and carries its own sha256.

The world wins over the records. A lost or damaged document is never trusted: what it said is taken from the
served folders and the catalog while reading, and the next writer sets it aside and writes the rebuilt one.
Reading needs no lock and changes nothing; whoever writes holds the root's lock.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from reconciler.core.recorded import Condition, Recorded, RecordedRelease, Timing, completed
from reconciler.core.value import as_dict, replace
from reconciler.host import durable
from reconciler.host.sealed import Damaged
from reconciler.records import documents, events
from reconciler.records.forms import (
    MachineRecord,
    VariantRecord,
    read_machine,
    read_variant,
    write_machine,
    write_variant,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.core.answer import Measurements
    from reconciler.core.layout import Layout
    from reconciler.core.observed import Registration
    from reconciler.core.release import Marker
    from reconciler.records.documents import Document
    from reconciler.records.events import Event

VARIANT = re.compile(r"[a-z0-9][a-z0-9.-]*")
TIMINGS_KEPT = 50
MEASUREMENTS_KEPT = 200


class Records:
    def __init__(self, layout: Layout) -> None:
        self._variants = os.path.join(layout.records, "variants")
        self._machine = os.path.join(layout.records, "machine.json")
        self._measurements = os.path.join(layout.records, "measurements.json")
        self._events = os.path.join(layout.records, "events.jsonl")
        self._folders = (layout.records, self._variants)
        self._known = Recorded()  # as last loaded: what a lost document is rebuilt from

    def load(
        self,
        *,
        owner: str = "",
        markers: Iterable[Marker] = (),
        registrations: Iterable[Registration] = (),
    ) -> Recorded:
        """What is recorded, completed from what is served. Writes nothing."""
        damaged: list[str] = []
        variants: dict[str, VariantRecord] = {}
        for variant in documents.names_in(self._variants):
            try:
                variants[variant] = self._read_variant(variant) or VariantRecord()
            except Damaged:
                damaged.append(f"variants/{variant}.json")
        try:
            machine = self._read_machine()
        except Damaged:
            machine = MachineRecord()
            damaged.append("machine.json")
        recorded = _together(variants, machine, tuple(damaged))
        self._known = completed(recorded, owner=owner, markers=markers, registrations=registrations)
        return self._known

    def save_release(self, release: RecordedRelease) -> None:
        old = self._variant(release.variant)
        number = max(old.high_water, release.number)
        self._save_variant(release.variant, replace(old, release=release, high_water=number))

    def forget_release(self, variant: str) -> None:
        """It is served no more. Its numbers stay given."""
        self._save_variant(variant, replace(self._variant(variant), release=None, conditions={}))

    def save_conditions(self, conditions: Mapping[str, Mapping[str, Condition]]) -> None:
        """By variant and type; variants that are not named keep theirs."""
        for variant, held in conditions.items():
            self._save_variant(variant, replace(self._variant(variant), conditions=held))

    def save_attempted(self, revision: str) -> None:
        self._save_machine(replace(self._machine_record(), last_attempted_revision=revision))

    def save_applied(self, revision: str) -> None:
        self._save_machine(replace(self._machine_record(), last_applied_revision=revision))

    def save_timing(self, action: str, precision: str, source_bytes: int, seconds: float) -> None:
        old = self._machine_record()
        timing = Timing(
            action=action, precision=precision, source_bytes=source_bytes, seconds=round(seconds, 3)
        )
        self._save_machine(replace(old, timings=(*old.timings, timing)[-TIMINGS_KEPT:]))

    def save_measurements(self, build_key: str, release: str, measured: Measurements) -> None:
        held = [one for one in self._read_measurements() if one["release"] != release]
        entry = {"release": release, "buildKey": build_key, "measured": as_dict(measured)}
        documents.write(self._measurements, {"measurements": [*held, entry][-MEASUREMENTS_KEPT:]})

    def append_event(self, event: Event) -> None:
        events.append(self._events, event)

    def events(self, limit: int | None = None) -> list[Event]:
        """The newest, in the order in which they happened."""
        return events.newest(self._events, limit)

    def sweep(self) -> None:
        """Remove what a killed writer left."""
        for folder in self._folders:
            durable.sweep_temporaries(folder)

    def _variant_path(self, variant: str) -> str:
        if not VARIANT.fullmatch(variant):
            raise ValueError(f"{variant!r} is no name of a variant")
        return os.path.join(self._variants, variant + documents.ENDING)

    def _read_variant(self, variant: str) -> VariantRecord | None:
        document = documents.read(os.path.join(self._variants, variant + documents.ENDING))
        return None if document is None else read_variant(variant, document)

    def _variant(self, variant: str) -> VariantRecord:
        """As recorded; rebuilt if there is no document to be trusted."""
        path = self._variant_path(variant)
        try:
            held = self._read_variant(variant)
        except Damaged:
            documents.set_aside(path)
            held = None
        return held or VariantRecord(
            release=self._known.releases.get(variant),
            high_water=self._known.high_water.get(variant, 0),
            conditions=self._known.conditions.get(variant, {}),
        )

    def _save_variant(self, variant: str, record: VariantRecord) -> None:
        documents.write(self._variant_path(variant), write_variant(variant, record))

    def _read_machine(self) -> MachineRecord:
        document = documents.read(self._machine)
        return MachineRecord() if document is None else read_machine(document)

    def _machine_record(self) -> MachineRecord:
        try:
            return self._read_machine()
        except Damaged:
            documents.set_aside(self._machine)
            return MachineRecord()

    def _save_machine(self, record: MachineRecord) -> None:
        documents.write(self._machine, write_machine(record))

    def _read_measurements(self) -> list[Document]:
        try:
            held: list[Document] = (documents.read(self._measurements) or {}).get("measurements", [])
        except Damaged:
            documents.set_aside(self._measurements)
            return []
        return held


def _together(
    variants: Mapping[str, VariantRecord], machine: MachineRecord, damaged: tuple[str, ...]
) -> Recorded:
    return Recorded(
        releases={name: one.release for name, one in variants.items() if one.release is not None},
        high_water={name: one.high_water for name, one in variants.items()},
        conditions={name: dict(one.conditions) for name, one in variants.items()},
        timings=machine.timings,
        last_attempted_revision=machine.last_attempted_revision,
        last_applied_revision=machine.last_applied_revision,
        damaged=damaged,
    )
