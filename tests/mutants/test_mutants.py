"""Every guard that has a mutant is named in the source, and the other way round; what a mutant makes of it can run; and
one mutant is run, so that the runner runs."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.__main__ import CAUGHT, REPOSITORY, SURVIVED, run, tag_of
from tests.mutants.guards import MUTANTS, Mutant
from tests.mutants.tags import Misplaced, Tag, place, strangers, tags, without


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_the_guard_is_there_once_and_so_are_its_tests(mutant: Mutant) -> None:
    tag = tag_of(mutant)
    changed = without([tag], mutant.instead)
    assert changed != unchanged(tag.file)
    compile(changed, tag.file, "exec")
    assert strangers(mutant.instead, tag.file) == set()
    assert all(Path(REPOSITORY, test.partition("::")[0]).exists() for test in mutant.tests.split())


@cache
def unchanged(file: str) -> str:
    return ast.unparse(ast.parse((REPOSITORY / file).read_text(encoding="utf-8")))


def test_every_guard_that_the_source_names_has_a_mutant() -> None:
    assert {tag.name for tag in tags() if tag.kind == "guard"} == {mutant.guard for mutant in MUTANTS}


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 60
    assert len({mutant.guard for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.slow
def test_a_guard_taken_out_is_caught_and_a_change_of_nothing_is_not() -> None:
    guard = next(mutant for mutant in MUTANTS if mutant.guard == "an owner mark is never replaced")
    same = Mutant(guard.guard, guard.tests, "not MARK.fullmatch(mark)")
    assert list(run([guard, same]).values()) == [CAUGHT, SURVIVED]


SOURCE = """\
if a or b:  # alone
    x = f(
        1,
        key=2,
    )
if (
    a and b  # the last
    or c
):
    pass
match x:
    case 1:
        y = {
            # above
            "k": a and b,
            "l": 2,
        }
"""


@pytest.mark.parametrize(
    ("line", "above", "named"),
    [
        (1, False, "if a or b:\n    x = f(1, key=2)"),
        (2, False, "x = f(1, key=2)"),
        (3, False, "1"),
        (4, False, "key=2"),
        (5, False, "x = f(1, key=2)"),
        (7, False, "a and b"),
        (9, False, "if a and b or c:\n    pass"),
        (12, False, "case 1:\n    y = {'k': a and b, 'l': 2}"),
        (15, True, "a and b"),
        (16, False, "2"),
    ],
)
def test_a_tag_names_a_statement_or_what_begins_or_ends_on_its_line(line: int, above: bool, named: str) -> None:
    tag = Tag(kind="guard", name="it", step=0, file="reconciler/it.py", line=line, above=above)
    assert ast.unparse(place(ast.parse(SOURCE), tag).node).strip() == named


def test_a_tag_that_names_nothing_is_refused() -> None:
    tag = Tag(kind="guard", name="it", step=0, file="reconciler/it.py", line=2, above=False)
    with pytest.raises(Misplaced):
        place(ast.parse("a = 1\n\nb = 2\n"), tag)
