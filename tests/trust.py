"""What a suite has shown, written down for the table of promises (docs/trust.md, `make trust`).

A test calls `record` after its last assertion, so a row says only what was seen to hold. Without
RECONCILER_TRUST_RESULTS nothing is written. A row that several tests fill gives each its `part`; figures that differ in
their numbers alone are added up.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

# As the environment was when Python started: the guards of tests/conftest.py take RECONCILER_* away from each test.
RESULTS = os.environ.get("RECONCILER_TRUST_RESULTS", "")
NIGHTLY = os.environ.get("RECONCILER_TEST_SIZE", "") == "nightly"
FULL = NIGHTLY or bool(RESULTS)  # the numbers that are promised; `make test` tries a share of them


def third(names: Iterable[str], part: int) -> list[str]:
    """All where the promised numbers are tried, else one of three: what costs most is to prepare a scenario, so the
    matrices of kills (0), refused writes (1) and power cuts (2) share them out."""
    return [*names] if FULL else [*names][part::3]


# row: (what is promised, the figure to reach), in the order of the table.
PROMISES = {
    "kill": ("kill it anywhere", "200 crash points x 5 SIGKILLs, 0 partial or wrong releases visible, 0 manual steps"),
    "plug": ("pull the plug", "every state after a loss of un-fsynced writes is whole; every removed fsync is noticed"),
    "foreign": ("never deletes what it did not create", "0 foreign bytes changed over 500 random trees"),
    "damage": ("converges from any damage in one pass", "at least 60 damage cases"),
    "rot": ("bit rot is found and repaired", "1,000 of 1,000 flips"),
    "diff": (
        "an untrusted diff is pure",
        "no network, no write, no child but git and the renderer; 1,000 manifests in 2 s and 120 MB",
    ),
    "poison": ("one bad object harms only itself", "1 poison among 100: 99 converge in the same pass"),
    "idle": ("idle means idle", "0 mutating system calls, at most 50 ms CPU a pass for 100 models"),
    "disk": ("a full disk is survivable", "at 0 bytes free the last good serves; prune frees; the next pass converges"),
    "rollback": ("no roll-back, no silent freeze", "force push, unrelated history: refused; `stale` after 2 intervals"),
    "secrets": ("secrets never leave", "a canary is in no log, record, argument, diff or artifact"),
    "cage": ("the converter is caged", "every escape probe is refused"),
    "inputs": ("bad inputs", "each item of docs/bad-inputs.md: one line, a stable code, no traceback"),
    "attacks": ("attacks are refused", "every attempt on the daemon, downloads, git, what we print and what we read"),
    "fleet": (
        "a fleet converts once",
        "every artifact converted once; 50 agents, a registry killed, cut, slow, damaged: 0 wrong files served",
    ),
    "memory": ("a conversion takes what was predicted", "never more than predicted, and at least two thirds of it"),
    "fuzz": ("fuzzing", "1,000,000 executions, no traceback, no hang"),
    "mutants": ("the tests bite", "every guard taken out makes its test fail; at least 40"),
}  # fmt: skip


def record(row: str, figure: str, detail: str = "", *, part: str = "") -> None:
    """`figure`: what was measured, in a few words. `detail`: how, or with what; shown below the table."""
    promise, _ = PROMISES[row]
    if RESULTS:
        folder = Path(RESULTS)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"promise": promise, "figure": figure, "detail": detail}, indent=1)
        (folder / f"{row}.{re.sub(r'[^a-z0-9-]+', '-', (part or 'all').lower())}.json").write_text(text + "\n")
