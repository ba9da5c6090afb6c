"""Pull the plug: no state that a loss of un-fsynced writes may leave breaks a promise, and none needs a person. And it
bites: without any one flush, or with steps swapped, such states are found. With RECONCILER_TEST_SIZE=nightly there are
more states, more of them are mended, and every mutant is run."""

import ast
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.crash.test_matrix import CHECKOUT, quick_folder
from tests.mutants.tags import place, strangers, tags
from tests.plug import more
from tests.plug.guards import FLUSHES, MUTANTS, ORDERS, Mutant
from tests.plug.mutants import CAUGHT, REPOSITORY, SURVIVED, run
from tests.trust import FULL, NIGHTLY, record, third

__all__ = ["quick_folder"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="acts in forked processes")

ROLLS, MENDED = (
    ("20", "150") if NIGHTLY else ("2", "3") if FULL else ("2", "2")
)  # at random, at each event; real files, for each scenario
OF_GIT, OF_OURS = ("1", "1") if FULL else ("24", "8")  # of so many events one
STATES = 10_000 if FULL else 400
TRIED = third(more.ALL, 2)
EVERY = 1 if NIGHTLY else 6 if FULL else 36
FLUSHES_SOMETHING = re.compile(r"(?:durable\.|os\.|system\.)?(?:_flush|flush_\w+|fsync)\(")


@pytest.mark.slow
def test_no_state_after_a_power_cut_is_wrong_and_each_is_mended_by_one_pass(quick_folder: Path) -> None:
    command = [sys.executable, "-m", "tests.plug.states", str(quick_folder), ROLLS, MENDED, OF_GIT, OF_OURS, *TRIED]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["scenario"]: one["problems"] for one in found if one["wrong"]} == {}
    assert {one["scenario"] for one in found} == {*TRIED}
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
    nothing = Mutant("the files of what is published", "suspend", "_flush(file)")
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
    assert mutant.text != _written(mutant.file)
    compile(mutant.text, mutant.file, "exec")
    assert strangers(f"{mutant.instead}\n{mutant.late}\n{mutant.early}", mutant.file) == set()
    assert {*mutant.scenarios.split()} <= more.ALL.keys()


def test_every_flush_and_order_that_the_source_names_has_a_mutant() -> None:
    for kind, mutants in (("flush", FLUSHES), ("order", ORDERS)):
        assert {tag.name for tag in tags() if tag.kind == kind} == {mutant.guard for mutant in mutants}
    assert len({mutant.guard for mutant in MUTANTS}) == len(MUTANTS)


# An exported archive lies in no root, and no scenario shows it: tests/registry/test_archive.py sees that it is flushed.
# A clone that is made by its name is for macOS alone, where none of this runs.
ELSEWHERE = [
    ("reconciler/host/durable.py", "_flush(destination)"),
    ("reconciler/registry/oci_tar.py", "durable.flush_file(part)"),
]


def test_every_flush_of_the_program_is_taken_out_by_a_mutant() -> None:
    """So none stands in a place without a tag."""
    taken = {(one.file, ast.unparse(place(_parsed(one.file), one).node)) for one in tags() if one.kind == "flush"}
    flushes = [
        (path.relative_to(REPOSITORY).as_posix(), ast.unparse(node))
        for path in (REPOSITORY / "reconciler").rglob("*.py")
        if path.parent.name != "system"  # what a flush is on each system: `durable` alone asks for one
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr) and FLUSHES_SOMETHING.match(ast.unparse(node))
    ]
    assert len(flushes) >= 15
    assert sorted(call for call in flushes if call not in taken) == ELSEWHERE


@cache
def _parsed(file: str) -> ast.Module:
    return ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))


@cache
def _written(file: str) -> str:
    return ast.unparse(_parsed(file))
