"""docs/trust.md: the table of promises with the figures of the last run, how each was got, and the bugs that the suites
behind it found."""

import json
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from bench.trust_rows import Row
from tests.trust import NIGHTLY, PROMISES

DOCS = Path(__file__).parent.parent / "docs"
NOT_SHOWN = "not shown: its tests were not run"
HEAD = """\
# Promises, and what was measured

Made by `make trust` (`RECONCILER_TEST_SIZE=nightly`: full size): each figure is written by the tests that show it,
after their last assertion; a row shows whether its tests failed or were skipped. What may go wrong and what we do not
defend against: [SECURITY.md](../SECURITY.md), [critiques.md](critiques.md).

"""
LAST = "The last run:"  # of all rows
BUGS = """
## Bugs that these suites found

Each with the command that shows it, once the fix is taken out; where it says `M` and `D`, see the page.

| what went wrong | shown by | page |
|---|---|---|
"""
_NUMBER = re.compile(r"\d[\d,]*")
_ROW = re.compile(r"\| (.+) \| (.+) \|")


def page(results: Path, suites: Mapping[str, tuple[str, ...]], *, minutes: float, before: str = "") -> str:
    """`before` is the page as it was: a row that has no result here keeps what it says, and how."""
    unknown = {row for row in PROMISES if not _is_known(results, row)}
    last = (_line(before, LAST) if unknown else "") or _machine(minutes)
    text = HEAD + last + "\n| promise | to reach | measured |\n|---|---|---|\n"
    for row, (promise, wanted) in PROMISES.items():
        begin = f"| {promise} | {_cell(wanted)} | "
        kept = _line(before, begin) if row in unknown else ""
        text += kept or f"{begin}{_cell(_measured(results, row))} |\n"
    text += "\n## How\n\n"
    for row, (promise, _) in PROMISES.items():
        kept = _line(before, f"- {promise}: ") if row in unknown else ""
        text += kept or f"- {promise}: {_how(results, row, suites.get(row, ()))}\n"
    return text + BUGS + "".join(bugs())


def _is_known(results: Path, row: str) -> bool:
    return (results / f"{row}.verdict").exists() or bool(_parts(results, row))


def _line(page: str, begin: str) -> str:
    return next((f"{line}\n" for line in page.splitlines() if line.startswith(begin)), "")


def bugs() -> list[str]:
    """The rows of all pages of that kind."""
    found = []
    for path in sorted(DOCS.glob("found-by-*.md")):
        rows = [_ROW.fullmatch(line) for line in path.read_text(encoding="utf-8").splitlines()]
        cells = [row.groups() for row in rows if row and not row[1].startswith("what w")]
        found += [f"| {what} | {how} | [{path.stem}]({path.name}) |\n" for what, how in cells]
    return found


def _machine(minutes: float) -> str:
    size = "nightly size" if NIGHTLY else "CI size"
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{LAST} {size}, {os.cpu_count()} cores, {system}, {minutes:.0f} minutes.\n"


def _measured(results: Path, row: str) -> str:
    verdict = Row.read(results / f"{row}.verdict")
    if verdict.failed:
        return f"FAILED: {', '.join(sorted({*verdict.failed}))}"
    figures = [part["figure"] for part in _parts(results, row)]
    if figures:
        return "; ".join(added_up(figures))
    if verdict.passed:
        return f"{verdict.passed} tests passed; none of them says a figure"
    return f"skipped: {'; '.join(verdict.skipped)}" if verdict.skipped else NOT_SHOWN


def _how(results: Path, row: str, suites: tuple[str, ...]) -> str:
    verdict = Row.read(results / f"{row}.verdict")
    details = dict.fromkeys(part["detail"] for part in _parts(results, row) if part["detail"])
    files = dict.fromkeys(one.partition("::")[0] for one in suites)
    shown = "`, `".join(files) if len(files) <= 3 else "bad-inputs.md"
    command = f"`pytest {shown}`" if len(files) <= 3 else "the tests of [bad-inputs.md](bad-inputs.md)"
    ran = [command if suites else "`python -m tests.mutants`", f"{verdict.passed} passed"]
    ran += [f"{count} skipped ({why})" for why, count in verdict.skipped.items()]
    return f"{'; '.join(details)}{'. ' if details else ''}{', '.join(ran)}, {verdict.seconds:.0f} s"


def _parts(results: Path, row: str) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in sorted(results.glob(f"{row}.*json"))]


def added_up(figures: list[str]) -> list[str]:
    """Figures that say the same with other numbers are one: cases of one test each write their own."""
    alike: dict[str, list[str]] = {}
    for figure in figures:
        alike.setdefault(_NUMBER.sub("#", figure), []).append(figure)
    return [_sum(words, same) if len(same) > 1 else same[0] for words, same in alike.items()]


def _sum(words: str, figures: list[str]) -> str:
    columns = zip(*([int(one.replace(",", "")) for one in _NUMBER.findall(figure)] for figure in figures), strict=True)
    sums = iter([sum(column) for column in columns])
    return re.sub("#", lambda _: f"{next(sums):,}", words)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
