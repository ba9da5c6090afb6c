"""Records that are lost, cut anywhere and flipped anywhere: one pass restores what is declared, each time."""

import json
import subprocess
import sys
from pathlib import Path

from tests.crash.test_matrix import CHECKOUT, pytestmark, quick_folder
from tests.trust import FULL, NIGHTLY, record

__all__ = ["pytestmark", "quick_folder"]

DAMAGES = 1000 if NIGHTLY else 60 if FULL else 8  # flips, and as many cuts


def test_one_pass_restores_from_any_damage_to_the_records(quick_folder: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.records_matrix", str(quick_folder), str(DAMAGES)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [f"{one['file']} {one['done']}: {one['problems']}" for one in runs if one["problems"]] == []
    files = {one["file"] for one in runs}
    assert {"records/machine.json", "records/stamps.json", "records/events.jsonl"} <= files
    assert len(runs) == len(files) + 2 * DAMAGES
    record(
        "damage",
        f"{len(runs)} losses, cuts and flips of records, a pass after each, 0 wrong",
        f"{len(files)} documents",
        part="records",
    )
