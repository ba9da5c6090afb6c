"""What became of the tests behind each row of the table of promises: pytest's report, taken apart."""

import json
import xml.etree.ElementTree as xml
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.trust import PROMISES

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Case:
    """One test that ran, or did not. `why` is the reason of a skip."""

    file: str
    function: str
    name: str
    outcome: str
    why: str = ""
    seconds: float = 0.0


@dataclass
class Row:
    """`failed` names tests, `skipped` counts reasons."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Row":
        return cls(**json.loads(path.read_text())) if path.exists() else cls()


def read_report(path: Path) -> list[Case]:
    return [_case(one) for one in xml.parse(path).iter("testcase")]


def _case(one: xml.Element) -> Case:
    name = one.get("name", "")
    found = {child.tag: child.get("message", "") for child in one}
    broken = "failure" in found or "error" in found
    return Case(
        file=one.get("file") or one.get("classname", "").replace(".", "/") + ".py",
        function=name.partition("[")[0],
        name=name,
        outcome=FAILED if broken else SKIPPED if SKIPPED in found else PASSED,
        why=found.get(SKIPPED, ""),
        seconds=float(one.get("time", "0")),
    )


def by_row(targets: Mapping[str, tuple[str, ...]], report: Iterable[Case]) -> dict[str, Row]:
    rows = {row: Row() for row in targets}
    for case in report:
        for row, wanted in targets.items():
            if any(_is_of(case, one) for one in wanted):
                _count(rows[row], case)
    return rows


def _is_of(case: Case, target: str) -> bool:
    """`target`: a folder, a file or file::function."""
    file, _, function = target.partition("::")
    inside = case.file == file or case.file.startswith(f"{file}/")
    return inside and function in ("", case.function)


def _count(row: Row, case: Case) -> None:
    row.seconds += case.seconds
    if case.outcome == PASSED:
        row.passed += 1
    elif case.outcome == FAILED:
        row.failed.append(f"{case.file}::{case.function}")
    else:
        row.skipped[case.why] = row.skipped.get(case.why, 0) + 1


def canaries(results: Path, row: Row) -> None:
    """Every session of tests looked for canaries (tests/canaries.py); together they are a part of this row."""
    file = results / "canaries.jsonl"
    seen = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    row.failed += [leak for one in seen for leak in one["leaks"]]
    if not seen or row.failed:
        return
    files, processes, outputs = (sum(one[name] for one in seen) for name in ("files", "processes", "outputs"))
    document = {
        "promise": PROMISES["secrets"][0],
        "figure": f"0 canaries in {files:,} files, {processes:,} processes, {outputs:,} outputs",
        "detail": f"{len(seen)} sessions of tests, each with canaries for all secrets in its environment and files",
    }
    (results / "secrets.canaries.json").write_text(json.dumps(document, indent=1) + "\n")
