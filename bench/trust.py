"""The table of promises with what was measured: `make trust` runs the suites that show them and writes docs/trust.md.

    python -m bench.trust [ROW...]      RECONCILER_TEST_SIZE=nightly for the full numbers

Each suite writes RECONCILER_TRUST_RESULTS/<row>.json when it has held (tests/trust.py); a promise without a file was
not shown, and the table says so. RESULTS are kept, so a row can be measured by itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.trust import PROMISES

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "trust"
PAGE = ROOT / "docs" / "trust.md"
NOT_SHOWN = "not shown in this run"

# What shows a row: arguments of Python. A suite that is not there (yet) is passed over, and its row says so.
SUITES = {
    "kill": ["-m", "pytest", "tests/crash"],
    "poison": ["-m", "pytest", "tests/faults"],
    "rot": ["-m", "pytest", "tests/engine/test_scrub.py"],
    "diff": ["-m", "pytest", "tests/diff"],
    "idle": ["-m", "pytest", "tests/engine/test_idle.py"],
    "rollback": ["-m", "pytest", "tests/adapters/test_git_source.py"],
    "secrets": [
        "-m",
        "pytest",
        "tests/adapters/test_arguments.py",
        "tests/adapters/test_hub.py",
        "tests/daemon",
    ],
    "cage": ["-m", "pytest", "tests/cage"],
    "inputs": ["-m", "pytest", "tests/bad_inputs", "tests/core/test_loader.py"],
    "fuzz": ["-m", "pytest", "tests/fuzz"],
    "mutants": ["-m", "tests.mutants"],
}
HEAD = """\
# Promises, and what was measured

Made by `make trust` (`RECONCILER_TEST_SIZE=nightly`: full size): each row is written by the tests that show it, after
their last assertion. What may go wrong and what we do not defend against: [SECURITY.md](../SECURITY.md),
[critiques.md](critiques.md).

"""


def main(rows: list[str]) -> int:
    failed = [row for row in rows or SUITES if not held(row)]
    add_up_canaries()
    PAGE.write_text(page(read()), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} is written; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def held(row: str) -> bool:
    module, *targets = SUITES[row][1:]
    there = [target for target in targets if (ROOT / target).exists()]
    forget(row)
    if targets and not there:
        print(f"{row}: no such suite here")
        return True
    options = ["-q", "-p", "no:cacheprovider"] if module == "pytest" else []
    environment = os.environ | {"RECONCILER_TRUST_RESULTS": str(RESULTS)}
    command = [sys.executable, "-m", module, *options, *there]
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0:
        return True
    forget(row)
    return False


def forget(row: str) -> None:
    """A suite that failed has shown nothing, and an old result does not outlive a new run."""
    for old in RESULTS.glob(f"{row}.*"):
        old.unlink()


def add_up_canaries() -> None:
    """Every session looked for canaries; together they are one row."""
    file = RESULTS / "canaries.jsonl"
    if not file.exists():
        return
    seen = [json.loads(line) for line in file.read_text().splitlines()]
    files, commands, outputs = (sum(one[name] for one in seen) for name in ("files", "commands", "outputs"))
    figure = f"0 canaries in {files:,} files, {commands:,} commands, {outputs:,} outputs"
    document = {"promise": PROMISES["secrets"][0], "figure": figure, "detail": f"{len(seen)} test sessions"}
    (RESULTS / "secrets.json").write_text(json.dumps(document, indent=1) + "\n")


def read() -> dict[str, list[dict[str, str]]]:
    """By row, its parts in order of name."""
    found: dict[str, list[dict[str, str]]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        found.setdefault(path.name.partition(".")[0], []).append(json.loads(path.read_text()))
    return found


def page(found: dict[str, list[dict[str, str]]]) -> str:
    lines = ["| promise | to reach | measured |", "|---|---|---|"]
    details = []
    for row, (promise, target) in PROMISES.items():
        parts = found.get(row, [])
        figure = "; ".join(part["figure"] for part in parts) or NOT_SHOWN
        lines.append(f"| {promise} | {cell(target)} | {cell(figure)} |")
        details += [f"- {promise}: {part['detail']}" for part in parts if part["detail"]]
    return HEAD + "\n".join(lines) + "\n" + ("\n" + "\n".join(details) + "\n" if details else "")


def cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
