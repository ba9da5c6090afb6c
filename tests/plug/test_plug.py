"""Pull the plug: no state that a loss of un-fsynced writes may leave breaks a promise, and none needs a person. And it
bites: without any one flush, or with steps swapped, such states are found. With RECONCILER_TEST_SIZE=nightly there are
more states, more of them are mended, and every mutant is run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.test_matrix import CHECKOUT, quick_folder
from tests.plug import more
from tests.plug.guards import FLUSHES, MUTANTS, ORDERS, Mutant
from tests.plug.mutants import CAUGHT, REPOSITORY, SURVIVED, run
from tests.trust import NIGHTLY, record

__all__ = ["quick_folder"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="acts in forked processes")

ROLLS, MENDED = (
    ("20", "150") if NIGHTLY else ("2", "3")
)  # at random, at each event; real files, for each scenario
STATES = 10_000
EVERY = 1 if NIGHTLY else 6
FLUSHED = re.compile(r"^ *(?:durable\.|os\.)?(?:_flush|flush_\w+|fsync)\(.*", re.MULTILINE)


@pytest.mark.slow
def test_no_state_after_a_power_cut_is_wrong_and_each_is_mended_by_one_pass(quick_folder: Path) -> None:
    command = [sys.executable, "-m", "tests.plug.states", str(quick_folder), ROLLS, MENDED]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["scenario"]: one["problems"] for one in found if one["wrong"]} == {}
    assert {one["scenario"] for one in found} == more.ALL.keys()
    states = sum(one["states"] for one in found)
    assert states >= STATES
    assert all(one["mended"] >= min(one["states"], int(MENDED)) for one in found)
    record(
        "plug",
        f"{states:,} states of {len(found)} recordings, 0 wrong",
        f"{sum(one['events'] for one in found):,} events; {sum(one['mended'] for one in found):,} states laid out as "
        "files and mended by one pass",
        part="states",
    )


@pytest.mark.slow
def test_without_a_flush_or_in_another_order_states_are_wrong() -> None:
    nothing = Mutant("nothing", FLUSHES[0].file, "suspend", ())
    found = run([*MUTANTS[::EVERY], nothing])
    assert found.pop(nothing) == SURVIVED
    assert [mutant.guard for mutant, said in found.items() if said != CAUGHT] == []
    record(
        "plug",
        f"{len(found)} of {len(MUTANTS)} mutants run, all caught",
        f"{len(FLUSHES)} flushes taken out, {len(ORDERS)} orders swapped: tests/plug/guards.py",
        part="mutants",
    )


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_the_guard_is_there_once_and_so_are_its_scenarios(mutant: Mutant) -> None:
    text = (REPOSITORY / mutant.file).read_text(encoding="utf-8")
    changed = mutant.applied(text)
    assert changed != text
    compile(changed, mutant.file, "exec")
    assert {*mutant.scenarios.split()} <= more.ALL.keys()


def test_every_flush_of_the_program_is_taken_out_by_a_mutant() -> None:
    calls = [
        (path.relative_to(REPOSITORY).as_posix(), line.group())
        for path in (REPOSITORY / "reconciler").rglob("*.py")
        for line in FLUSHED.finditer(path.read_text(encoding="utf-8"))
    ]
    assert len(calls) >= 15
    taken = [(mutant.file, old) for mutant in FLUSHES for old, _ in mutant.edits]
    assert [
        call for call in calls if not any(call[0] == file and call[1] in old for file, old in taken)
    ] == []
