"""A report that travels has at most 64 KiB, and says what it leaves out."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.recorded import Timing
from reconciler.fleet.inventory_form import read_inventories, read_inventory
from reconciler.fleet.travelling import LONGEST_REPORT, fingerprint, report_document
from tests.fleet.test_inventory import inventory
from tests.machine_reports.documents import GOOD, machine, many
from tests.planner.world import World, desired, release

TIMING = Timing(action="convert", precision="int4", source_bytes=1, seconds=1)


def test_a_small_one_leaves_nothing_out() -> None:
    whole = inventory(World().converge(desired(release())), summary=(GOOD,))
    said, data = report_document(whole, 7)
    assert read_inventory(data, "x") == said == replace(whole, counter=7)


@pytest.mark.parametrize(
    ("variants", "left_out"),
    [
        (30, []),
        (80, ["timings", "long messages"]),
        (120, ["timings", "long messages", "gates that pass"]),
        (400, ["timings", "long messages", "gates that pass", " variants that are ready"]),
    ],
)
def test_what_is_left_out_is_said_and_the_rest_fits(variants: int, left_out: list[str]) -> None:
    whole = machine(summary=many(variants), timings=(TIMING,) * 3)
    said, data = report_document(whole, 7)
    assert len(data) <= LONGEST_REPORT
    assert read_inventory(data, "x") == said
    assert len(said.left_out) == len(left_out)
    assert all(one in found for one, found in zip(left_out, said.left_out, strict=True))


def test_what_is_wrong_is_left_out_last() -> None:
    bad = replace(GOOD, variant="z-int4", serves="")
    said, _ = report_document(machine(summary=(*many(999), bad)), 7)
    assert bad in said.summary
    assert len(said.summary) < 999


def test_the_bounds_hold_for_whatever_a_machine_says() -> None:
    roots = tuple("/" + "r" * 4000 for _ in range(100))
    labels = {f"l{at}": "x" * 290 for at in range(100)}
    said, data = report_document(machine(source_roots=roots, labels=labels, summary=many(999)), 7)
    assert len(data) <= LONGEST_REPORT
    assert read_inventory(data, "x") == said


def test_two_reports_say_the_same_whenever_they_were_made() -> None:
    one = machine()
    later = replace(one, generated="2026-11-23T00:00:00Z", counter=8, timings=(TIMING,))
    assert fingerprint(one) == fingerprint(replace(later, disk=replace(one.disk, free_bytes=1)))
    assert fingerprint(one) != fingerprint(replace(one, summary=(replace(GOOD, ready="False"),)))


def test_a_prediction_asks_for_a_whole_inventory(tmp_path: Path) -> None:
    _, data = report_document(machine(summary=many(80), timings=(TIMING,)), 7)
    (tmp_path / "edge-7.json").write_bytes(data)
    (tmp_path / "edge-7.json.sigstore.json").write_bytes(b"{}")
    found, (problem,) = read_inventories(str(tmp_path))
    assert found == {}
    assert problem.message == "expected a whole inventory, got a report without timings, long messages"
