"""The table of promises with what was measured: `make trust` runs the suites that show them and writes docs/trust.md.

    python -m bench.trust [ROW...]      RECONCILER_TEST_SIZE=nightly for the full numbers (hours)

A suite writes its figure when it has held (tests/trust.py); pytest's own report tells what failed and what was skipped,
and a row says both. RESULTS are kept, and a row without one keeps what the page says, so one row can be measured by
itself.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.trust_page import page
from bench.trust_rows import Case, Row, by_row, canaries, read_report
from tests.bad_inputs.items import ITEMS
from tests.bad_inputs.test_items import target
from tests.trust import NIGHTLY, PROMISES

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "trust"
PAGE = ROOT / "docs" / "trust.md"
PROCESSES = min(os.cpu_count() or 1, 4)

# What shows a row: arguments of pytest. A suite that is not there (yet) is passed over, and its row says so.
SUITES: dict[str, tuple[str, ...]] = {
    "kill": ("tests/crash/test_matrix.py",),
    "plug": ("tests/plug",),
    "foreign": ("tests/faults/test_foreign.py",),
    "damage": ("tests/crash/test_damage.py", "tests/faults/test_records.py"),
    "rot": ("tests/engine/test_scrub.py",),
    "diff": ("tests/diff/test_thousand.py", "tests/diff/test_diff.py"),
    "poison": ("tests/faults/test_poison.py",),
    "idle": ("tests/engine/test_idle.py",),
    "disk": ("tests/e2e/test_full_disk.py", "tests/faults/test_every_write.py", "tests/faults/test_engine.py"),
    "rollback": ("tests/sources/test_git_source.py",),
    "secrets": ("tests/host/test_arguments.py", "tests/cli/test_bundle.py", "tests/daemon/test_outside.py"),
    "cage": ("tests/host/test_cage.py",),
    "inputs": ("tests/bad_inputs/test_items.py", *sorted({target(test) for item in ITEMS for test in item.tests})),
    "attacks": ("tests/attacks",),
    "fleet": ("tests/e2e/test_fleet.py", "tests/operations/test_builder.py"),
    "memory": ("tests/conversion/test_memory.py", "tests/conversion/test_by_hand.py"),
    "fuzz": ("tests/fuzz",),
}  # fmt: skip
MUTANTS = "mutants"  # not tests, but something that runs tests


def main(rows: list[str]) -> int:
    began = time.monotonic()
    chosen = rows or list(PROMISES)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for row in chosen:
        forget(row)
    targets = {row: there(row) for row in chosen if row in SUITES}
    found = by_row(targets, tested(targets))
    if MUTANTS in chosen:
        found[MUTANTS] = mutants()
    if "secrets" in found:
        canaries(RESULTS, found["secrets"])
    for row, one in found.items():
        one.write(RESULTS / f"{row}.verdict")
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(page(RESULTS, SUITES, minutes=(time.monotonic() - began) / 60, before=before), encoding="utf-8")
    failed = [row for row, one in found.items() if one.failed]
    print(f"{PAGE.relative_to(ROOT)} is written; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def there(row: str) -> tuple[str, ...]:
    return tuple(one for one in SUITES[row] if (ROOT / one.partition("::")[0]).exists())


def forget(row: str) -> None:
    """An old result does not outlive a new run."""
    for old in [*RESULTS.glob(f"{row}.*"), *(RESULTS.glob("canaries.*") if row == "secrets" else ())]:
        old.unlink()


def tested(targets: dict[str, tuple[str, ...]]) -> list[Case]:
    """All suites in one session, so that all cores have work to the end."""
    wanted = list(dict.fromkeys(one for row in targets.values() for one in row))
    report = RESULTS / "tests.xml"
    report.unlink(missing_ok=True)
    processes = PROCESSES if len(targets) > 1 else 1  # a row by itself has the machine to itself
    spread = ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"]  # the longest begins first
    options = ["-q", "-p", "no:cacheprovider", *spread]
    if wanted:
        run("pytest", *options, f"--junitxml={report}", "-o", "junit_family=xunit1", *wanted)
    return read_report(report) if report.exists() else []


def mutants() -> Row:
    began = time.monotonic()
    code = run("tests.mutants", *([] if NIGHTLY else ["--share", "6"]))
    row = Row(passed=int(code == 0), seconds=time.monotonic() - began)
    row.failed += [] if code == 0 else ["python -m tests.mutants"]
    return row


def run(module: str, *arguments: str) -> int:
    environment = os.environ | {"RECONCILER_TRUST_RESULTS": str(RESULTS)}
    environment.setdefault("RECONCILER_TEST_PROCESSES", str(PROCESSES))
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    if unknown := [row for row in sys.argv[1:] if row not in PROMISES]:
        sys.exit(f"no such row: {', '.join(unknown)}; expected some of {', '.join(PROMISES)}")
    sys.exit(main(sys.argv[1:]))
