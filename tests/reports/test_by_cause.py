"""What is wrong in a thousand files for one reason is said once, with the files counted."""

from reconciler.domain.errors import Problem
from reconciler.domain.plain_data import as_dict
from reconciler.reports.text import annotations, by_cause, problems_text

HINT = "put it there"


def problem(number: int, message: str = "cannot read ../models/phi: there is no such folder", line: int = 6) -> Problem:
    file = f"manifests/m{number:04}.yaml"
    return Problem(code="SourceUnreadable", file=file, line=line, field="spec.source", message=message, hint=HINT)


def test_a_thousand_manifests_that_share_a_bad_source() -> None:
    many = [problem(number) for number in range(1000)]
    text = problems_text(many)
    assert text == (
        "error: manifests/m0000.yaml:6: spec.source: cannot read ../models/phi: there is no such folder "
        f"(the same in 999 more files)\nhint: {HINT}\n"
    )
    assert len(annotations([as_dict(one) for one in many], ()).splitlines()) == 1


def test_what_differs_is_said_each() -> None:
    assert len(by_cause(map(as_dict, [problem(1), problem(2, "another"), problem(3)]))) == 2
    new, old = ({**as_dict(problem(n)), "new": n == 1} for n in (1, 2))
    assert len(by_cause([new, old])) == 2
    assert by_cause([new]) == [new]


def test_the_count_is_right() -> None:
    said = [one["message"].rpartition("(")[2] for one in by_cause(map(as_dict, [problem(1), problem(2)]))]
    assert said == ["the same in 1 more file)"]
    of_one_file = [as_dict(problem(1)), as_dict(problem(1, line=9))]
    assert by_cause(of_one_file) == of_one_file  # each has a line of its own to mend
