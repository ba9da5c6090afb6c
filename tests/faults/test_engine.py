"""Whole passes to which the system refuses a write: each ends with a stable code, serves on, and the next one
converges. A sample of the points in CI; each point with each error, once and for good, with
RECONCILER_TEST_SIZE=nightly."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from reconciler.host import durable
from tests.crash.scenarios import SCENARIOS
from tests.crash.test_matrix import CHECKOUT, pytestmark, quick_folder
from tests.faults.engine_matrix import CALL, KINDS, PROMISED, FaultBench
from tests.trust import FULL, NIGHTLY, record, third

__all__ = ["pytestmark", "quick_folder"]

SHARE = 1 if NIGHTLY else PROMISED if FULL else 72
TRIED = third(SCENARIOS, 1)


def test_a_pass_that_is_refused_any_write_serves_on_and_the_next_one_converges(quick_folder: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.engine_matrix", str(quick_folder), str(SHARE), *TRIED]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [f"{one['scenario']} {one['step']}:{one['kind']}: {said}" for one in runs for said in one["problems"]]
    assert wrong == []
    assert {one["scenario"] for one in runs} == {*TRIED}
    untried = {*KINDS, *(CALL + kind for kind in KINDS)} - {one["kind"] for one in runs}
    assert len(untried) <= (0 if FULL else len(KINDS))
    told = Counter(one["code"] for one in runs)
    assert sum(told.values()) - told[""] > len(runs) / 2, told
    record(
        "disk",
        f"{len(runs)} refusals in whole passes, {len(wrong)} wrong",
        f"{len(SCENARIOS)} scenarios, at durable steps and at calls past them; {', '.join(sorted(told.keys() - {''}))}",
        part="pass",
    )


def test_what_nothing_uses_is_freed_though_a_repair_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: what could not be mended must not keep back what would make room for it."""
    monkeypatch.setattr(durable, "_fail_at", durable.fault("0:EIO"))
    bench = FaultBench("repair-folder", tmp_path / "bench")
    freed = 0
    for step in range(5, bench.steps, 6):
        bench.restore()
        (bench.world.manifests / "two.yaml").unlink(missing_ok=True)
        durable._steps, durable._fail_at = 0, durable.fault(f"{step}:ENOSPC")
        result = bench.world.apply(confirm=True)
        ends = {(one.change.action, one.change.variant): one.status for one in result.outcomes}
        if ends.get(("repair", "one-int4")) == "failed":
            assert ends["prune", ""] == "done", step
            freed += 1
    assert freed
