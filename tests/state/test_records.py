"""Records on a real file system: what they keep, and what they do when they are damaged."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.layout import Layout
from reconciler.domain.measured import Endured, Fidelity, Measured, Measurements, MeasurementSet, Speed
from reconciler.domain.observed import Registration
from reconciler.domain.recorded import Condition, Recorded, RecordedRelease, Timing
from reconciler.host.codec import seal, unseal
from reconciler.state import events
from reconciler.state.records import MEASUREMENTS_KEPT, TIMINGS_KEPT, Records
from tests.domain.test_recorded import US, marker

VARIANT = "capitals-int4"
READY = Condition(type="Ready", status="True", reason="Served", message="ünï", last_transition_time="then")
MEASURED = Measurements(
    load_seconds=1.0,
    first_token_seconds=0.1,
    tokens_per_second=20.0,
    prompt_tokens=5,
    completion_tokens=1,
    peak_memory_bytes=1 << 30,
    takes_system=True,
    runtime={"onnxruntime": "1.31.0"},
)


WHOLE = Measured(
    release="sha256:3",
    build_key="sha256:b",
    answers={"sha256:q": "Päris"},
    speeds=(Speed(wanted_tokens=9, prompt_tokens=8, first_token_seconds=0.1, tokens_per_second=2.0),),
    speed_memory_bytes=7,
    endured=Endured(requests=8, growth_bytes=-1, drift=1.5, crashed=("empty",)),
)
FIDELITY = Fidelity(
    build_key="sha256:b",
    prompts="sha256:p",
    positions=9,
    top1_agreement=0.5,
    mean_kl=0.1,
    perplexity_ratio=1.1,
    wiring_kl=None,
)


class Root:
    """Opened anew for each step, as a new process would."""

    def __init__(self, path: Path) -> None:
        self.layout = Layout(str(path))
        self.folder = path / "records"
        self.document = self.folder / "variants" / f"{VARIANT}.json"

    @property
    def records(self) -> Records:
        return Records(self.layout)

    def load(self) -> Recorded:
        return self.records.load()


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "ein Ordner für 日本語")


def release(number: int = 1) -> RecordedRelease:
    return RecordedRelease.from_marker(marker(number), registered="2026-01-01T00:00:00Z")


def fill(root: Root) -> None:
    root.records.save_release(release(3))
    root.records.save_conditions({VARIANT: {"Ready": READY}})
    root.records.save_attempted("main@sha1:2")
    root.records.save_applied("main@sha1:1")
    root.records.save_timing("convert", "int4", 1000, 2.5)
    root.records.save_measured(replace(WHOLE, load=MEASURED))
    root.records.save_fidelity(FIDELITY)
    root.records.append_event({"time": "then", "type": "convert.done"})


def files(root: Root) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.folder.rglob("*") if path.is_file()}


def test_what_is_saved_is_read_again_by_any_process(root: Root) -> None:
    fill(root)
    assert root.load() == Recorded(
        releases={VARIANT: release(3)},
        high_water={VARIANT: 3},
        timings=(Timing(action="convert", precision="int4", source_bytes=1000, seconds=2.5),),
        last_attempted_revision="main@sha1:2",
        last_applied_revision="main@sha1:1",
        measured=MeasurementSet(fidelity={"sha256:b": FIDELITY}, releases={"sha256:3": replace(WHOLE, load=MEASURED)}),
    )
    assert root.records.conditions() == {VARIANT: {"Ready": READY}}
    assert root.records.events() == [{"time": "then", "type": "convert.done"}]


def test_no_records_are_empty_records_and_reading_makes_none(root: Root) -> None:
    assert root.load() == Recorded()
    assert root.records.events() == []
    assert not root.folder.exists()


def test_a_forgotten_release_leaves_its_number(root: Root) -> None:
    fill(root)
    root.records.forget_release(VARIANT)
    assert root.load().releases == {}
    assert root.records.conditions() == {}
    root.records.save_release(release(2))
    assert root.load().high_water == {VARIANT: 3}


def test_saying_the_same_again_writes_nothing(root: Root) -> None:
    fill(root)
    before = {path: os.stat(path) for path in files(root) if not path.endswith("events.jsonl")}
    root.records.save_release(release(3))
    root.records.save_conditions({VARIANT: {"Ready": READY}})
    root.records.save_attempted("main@sha1:2")
    root.records.save_applied("main@sha1:1")
    root.records.save_measured(replace(WHOLE, load=MEASURED))
    assert {path: os.stat(path) for path in before} == before


def test_only_the_conditions_that_were_saved_last_are_held(root: Root) -> None:
    fill(root)
    root.records.save_conditions({"other-int8": {"Ready": READY}})
    assert root.records.conditions() == {"other-int8": {"Ready": READY}}


def test_lists_stay_short(root: Root) -> None:
    for number in range(TIMINGS_KEPT + 10):
        root.records.save_timing("convert", "int4", number, 1.0)
    assert [timing.source_bytes for timing in root.load().timings] == list(range(10, TIMINGS_KEPT + 10))
    for number in range(MEASUREMENTS_KEPT + 10):
        root.records.save_measured(Measured(release=f"sha256:{number}", build_key="sha256:b", load=MEASURED))
    kept = json.loads((root.folder / "measurements.json").read_bytes())["body"]["measurements"]
    assert [one["release"] for one in kept] == [f"sha256:{n}" for n in range(10, MEASUREMENTS_KEPT + 10)]


def test_a_document_cut_at_any_byte_is_not_trusted(root: Root) -> None:
    fill(root)
    data = root.document.read_bytes()
    for length in range(len(data)):
        root.document.write_bytes(data[:length])
        recorded = root.load()
        assert recorded.damaged == (f"variants/{VARIANT}.json",)
        assert (recorded.releases, recorded.high_water) == ({}, {})


def test_a_document_with_any_bit_flipped_is_not_trusted(root: Root) -> None:
    fill(root)
    data = root.document.read_bytes()
    for position in range(len(data)):
        flipped = bytes([data[position] ^ (1 << position % 8)])
        root.document.write_bytes(data[:position] + flipped + data[position + 1 :])
        assert root.load().damaged == (f"variants/{VARIANT}.json",)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body | {"formatVersion": 2},
        lambda body: body | {"variant": "another-int4"},
        lambda body: body | {"release": body["release"] | {"surplus": 1}},
        lambda body: {key: value for key, value in body.items() if key != "highWater"},
        lambda body: body | {"release": {}},
        lambda body: [],
    ],
    ids=["newer version", "other variant", "unknown field", "missing field", "empty release", "no object"],
)
def test_a_document_of_another_program_or_place_is_not_trusted(
    root: Root, change: Callable[[dict[str, object]], object]
) -> None:
    fill(root)
    root.document.write_bytes(seal(change(unseal(root.document.read_bytes()))))
    assert root.load().damaged == (f"variants/{VARIANT}.json",)


def test_a_field_of_a_later_version_at_the_top_of_a_record_is_ignored(root: Root) -> None:
    fill(root)
    before = root.load(), root.records.conditions()
    for path in root.folder.rglob("*.json"):
        path.write_bytes(seal(unseal(path.read_bytes()) | {"surplus": {"since": "a later version"}}))  # type: ignore[operator]
    assert (root.load(), root.records.conditions()) == before
    assert not root.load().damaged


def test_a_damaged_document_is_rebuilt_from_what_is_served_and_set_aside(root: Root) -> None:
    fill(root)
    root.document.write_bytes(b"damaged")
    registered = Registration(id=f"{VARIANT}:3", path="", properties={"reconciler_owner": US})
    records = root.records
    recorded = records.load(owner=US, markers=[marker(3)], registrations=[registered])
    assert recorded.releases[VARIANT].number == 3
    assert root.document.read_bytes() == b"damaged"
    records.save_release(replace(recorded.releases[VARIANT], revision="main@sha1:5"))
    again = root.load()
    assert again.damaged == ()
    rebuilt = replace(release(3), registered=marker(3).created, revision="main@sha1:5")
    assert again.releases[VARIANT] == rebuilt
    assert again.high_water == {VARIANT: 3}
    assert root.records.conditions() == {VARIANT: {"Ready": READY}}
    assert (root.document.parent / f"{VARIANT}.json.damaged-1").read_bytes() == b"damaged"


def test_all_records_lost_are_rebuilt_from_what_is_served(root: Root) -> None:
    fill(root)
    shutil.rmtree(root.folder)
    records = root.records
    recorded = records.load(owner=US, markers=[marker(3), marker(4)], registrations=[])
    assert recorded.releases[VARIANT].number == 4
    records.save_release(release(5))
    assert root.load().high_water == {VARIANT: 5}


def test_each_damaged_document_is_kept(root: Root) -> None:
    for content in (b"first", b"second"):
        fill(root)
        root.document.write_bytes(content)
        for name in ("machine.json", "conditions.json", "measurements.json"):
            (root.folder / name).write_bytes(content)
        assert root.load().damaged == (f"variants/{VARIANT}.json", "machine.json")
        fill(root)
        assert root.load().damaged == ()
    for name in (f"variants/{VARIANT}.json", "machine.json", "conditions.json", "measurements.json"):
        assert (root.folder / f"{name}.damaged-1").read_bytes() == b"first"
        assert (root.folder / f"{name}.damaged-2").read_bytes() == b"second"


def test_one_damaged_document_harms_only_itself(root: Root) -> None:
    fill(root)
    other = replace(release(1), variant="other-int8")
    root.records.save_release(other)
    root.document.write_bytes(b"")
    assert root.load().releases == {"other-int8": other}


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "A", "a\\b", "a:b", "-rf"])
def test_no_name_leads_out_of_the_folder(root: Root, name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a variant"):
        root.records.forget_release(name)


def test_foreign_files_among_the_records_are_left_alone(root: Root) -> None:
    fill(root)
    for name in ("notes.txt", ".capitals.json.0a0b.tmp", "folder"):
        (root.document.parent / name).mkdir()
    assert root.load().damaged == ()


def test_what_a_killed_writer_left_is_swept(root: Root) -> None:
    fill(root)
    before = files(root)
    (root.folder / ".machine.json.00000000.tmp").write_bytes(b"half")
    (root.folder / "variants" / ".x.json.00000000.tmp").write_bytes(b"half")
    root.records.sweep()
    assert files(root) == before


def test_a_torn_log_of_events_is_noted_once_and_glues_nothing(root: Root) -> None:
    for number in range(2):
        root.records.append_event({"n": number})
    with open(root.records.event_log, "ab") as log:
        log.truncate(os.path.getsize(root.records.event_log) - 3)
    assert events.is_torn(root.records.event_log)
    root.records.mend()
    assert not events.is_torn(root.records.event_log)
    root.records.mend()
    root.records.append_event({"n": 2})
    assert [one.get("n", one.get("type")) for one in root.records.events()] == [0, "events.torn", 2]


def test_events_come_in_order_and_torn_lines_are_left_out(root: Root) -> None:
    for number in range(5):
        root.records.append_event({"n": number})
    log = root.folder / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-3])
    root.records.append_event({"n": 5})
    log.write_bytes(log.read_bytes() + b'[1]\n{"n": 6')
    assert [event["n"] for event in root.records.events()] == [0, 1, 2, 3, 5]
    assert [event["n"] for event in root.records.events(limit=2)] == [3, 5]
    assert root.records.events(limit=0) == []


def test_the_event_log_is_bounded_and_keeps_the_newest(root: Root) -> None:
    for number in range(300):
        root.records.append_event({"n": number, "message": "x" * 50_000})
    kept = [event["n"] for event in root.records.events()]
    assert kept == list(range(kept[0], 300))
    assert len(kept) > events.FULL // 51_000
    assert sum(len(data) for data in files(root).values()) < 2 * events.FULL + 100_000
