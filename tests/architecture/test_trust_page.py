"""The table of promises says what was seen: no figure without its tests, and no failure or skip is left out."""

import json
import re
import shlex
from pathlib import Path

import pytest

from bench import trust_page
from bench.trust import MUTANTS, PAGE, ROOT, SUITES
from bench.trust_page import added_up, page
from bench.trust_rows import FAILED, PASSED, SKIPPED, Case, by_row, canaries, read_report
from tests.crash.damage import CASES, FOLLOWED
from tests.crash.scenarios import SCENARIOS
from tests.trust import PROMISES

REPORT = """<testsuites><testsuite>
<testcase file="tests/a/test_x.py" classname="tests.a.test_x" name="test_one[b]" time="1.5"/>
<testcase classname="tests.a.test_x" name="test_two" time="0.5"><skipped message="no strace"/></testcase>
<testcase file="tests/b/test_y.py" classname="tests.b.test_y" name="test_three" time="2"><failure/></testcase>
<testcase file="tests/b/test_z.py" classname="tests.b.test_z" name="test_four" time="2"><error/></testcase>
</testsuite></testsuites>"""


def test_a_report_is_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "tests.xml"
    path.write_text(REPORT)
    cases = read_report(path)
    assert [one.outcome for one in cases] == [PASSED, SKIPPED, FAILED, FAILED]
    assert cases[1] == Case("tests/a/test_x.py", "test_two", "test_two", SKIPPED, "no strace", 0.5)
    targets = {
        "kill": ("tests/a",),
        "rot": ("tests/b/test_y.py", "tests/a/test_x.py::test_one"),
        "disk": ("tests/b/test",),
    }
    rows = by_row(targets, cases)
    assert (rows["kill"].passed, rows["kill"].skipped, rows["kill"].seconds) == (1, {"no strace": 1}, 2.0)
    assert (rows["rot"].passed, rows["rot"].failed) == (1, ["tests/b/test_y.py::test_three"])
    assert rows["disk"].passed == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["2 of 2 held by a", "1 of 3 held by a", "1 of 1 held by b"], ["3 of 5 held by a", "1 of 1 held by b"]),
        (["0.05 s and 1,000 x"], ["0.05 s and 1,000 x"]),
        (["1,999 x", "1 x"], ["2,000 x"]),
    ],
)
def test_figures_that_differ_in_numbers_are_added_up(given: list[str], said: list[str]) -> None:
    assert added_up(given) == said


def cell(results: Path, row: str) -> str:
    promise, _ = PROMISES[row]
    text = page(results, SUITES, minutes=1)
    return next(line for line in text.splitlines() if line.startswith(f"| {promise} |")).split(" | ")[-1].rstrip(" |")


def test_a_row_says_what_became_of_its_tests(tmp_path: Path) -> None:
    def said(failed: list[str], skipped: dict[str, int]) -> str:
        verdict = {"passed": 0, "failed": failed, "skipped": skipped, "seconds": 1.0}
        (tmp_path / "rot.verdict").write_text(json.dumps(verdict))
        return cell(tmp_path, "rot")

    assert cell(tmp_path, "rot") == trust_page.NOT_SHOWN
    assert said([], {"no disk": 2}) == "skipped: no disk"
    (tmp_path / "rot.all.json").write_text(json.dumps({"figure": "all | of them", "detail": ""}))
    assert said([], {}) == "all \\| of them"
    assert said(["tests/x.py::test_y"], {}) == "FAILED: tests/x.py::test_y"


def test_a_row_that_was_not_run_keeps_what_the_page_says(tmp_path: Path) -> None:
    before = PAGE.read_text(encoding="utf-8")
    assert page(tmp_path, SUITES, minutes=7, before=before).partition("## Bugs")[0] == before.partition("## Bugs")[0]
    (tmp_path / "rot.all.json").write_text(json.dumps({"figure": "new", "detail": "how"}))
    changed = page(tmp_path, SUITES, minutes=7, before=before).partition("## Bugs")[0]
    lines = {*before.partition("## Bugs")[0].splitlines()} ^ {*changed.splitlines()}
    assert len(lines) == 4
    assert all(PROMISES["rot"][0] in line for line in lines)


def test_a_canary_that_got_out_fails_its_row(tmp_path: Path) -> None:
    one = {"files": 3, "processes": 2, "outputs": 1, "leaks": []}
    (tmp_path / "canaries.jsonl").write_text(f"{json.dumps(one)}\n{json.dumps(one)}\n")
    row = by_row({"secrets": ()}, [])["secrets"]
    canaries(tmp_path, row)
    assert not row.failed
    assert cell(tmp_path, "secrets") == "0 canaries in 6 files, 4 processes, 2 outputs"
    (tmp_path / "canaries.jsonl").write_text(json.dumps(one | {"leaks": ["canary-hub stands in log"]}))
    canaries(tmp_path, row)
    assert row.failed == ["canary-hub stands in log"]


def test_every_promise_has_a_suite_that_is_there_and_a_line_on_the_page() -> None:
    assert {*SUITES, MUTANTS} == {*PROMISES}
    missing = [one for suite in SUITES.values() for one in suite if not (ROOT / one.partition("::")[0]).exists()]
    assert missing == []
    text = PAGE.read_text(encoding="utf-8")
    assert [promise for promise, _ in PROMISES.values() if f"\n| {promise} | " not in text] == []


BUGS = "".join(trust_page.bugs())


@pytest.mark.parametrize("command", sorted({*re.findall(r"`(?:pytest|python -m) ([^`]+)`", BUGS)}))
def test_a_command_on_the_page_names_what_is_there(command: str) -> None:
    target, *words = shlex.split(command)
    path = ROOT / (target.partition("::")[0] if "/" in target else f"{target.replace('.', '/')}.py")
    files = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    assert text
    if "-k" in words:
        chosen = words[words.index("-k") + 1].split(" or ")
        names = " ".join([str(path.relative_to(ROOT)), *re.findall(r"^def (test_\w+)", text, re.MULTILINE)])
        assert [one for one in chosen if one not in names] == []


def test_scenarios_and_cases_on_the_page_are_there() -> None:
    scenarios = {*re.findall(r"`M ([a-z-]+)`", BUGS)}
    cases = {*re.findall(r"`D \"([^`]+)\"`", BUGS)}
    assert scenarios <= {*SCENARIOS}
    assert cases <= {*CASES, *FOLLOWED}
    assert len(scenarios) + len(cases) > 10
