"""Every guard that has a mutant is where the mutant takes it out; and one mutant is run, so that the runner runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import CAUGHT, REPOSITORY, SURVIVED, run
from tests.mutants.guards import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_the_guard_is_there_once_and_so_are_its_tests(mutant: Mutant) -> None:
    text = (REPOSITORY / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old
    compile(text.replace(mutant.old, mutant.new), mutant.file, "exec")
    assert all(Path(REPOSITORY, test.partition("::")[0]).exists() for test in mutant.tests.split())


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 60
    assert len({mutant.guard for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.slow
def test_a_guard_taken_out_is_caught_and_a_change_of_nothing_is_not() -> None:
    guard = next(mutant for mutant in MUTANTS if mutant.guard == "an owner mark is never replaced")
    same = Mutant("nothing", guard.file, guard.old, f"{guard.old}  # the same", guard.tests)
    assert list(run([guard, same]).values()) == [CAUGHT, SURVIVED]
