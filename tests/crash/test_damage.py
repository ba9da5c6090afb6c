"""One pass over any damage: what is declared is restored, or the pass says why it cannot be; nothing foreign changes.
Records are also cut at each of their bytes, and flipped a thousand times: they are believed whole or not at all."""

import json
import random
import subprocess
import sys
from pathlib import Path

from reconciler.domain.layout import Layout
from reconciler.host import durable
from reconciler.state.records import Records
from tests.crash.damage import CASES, FOLLOWED
from tests.crash.test_matrix import CHECKOUT, pytestmark, quick_folder
from tests.host.crash_scenarios import release
from tests.trust import FULL, record

__all__ = ["pytestmark", "quick_folder"]

LEAST = 60
FLIPS = 1000


def test_one_pass_mends_any_damage_or_says_why_it_cannot(quick_folder: Path) -> None:
    wanted = [*CASES, *FOLLOWED][:: 1 if FULL else 6]
    command = [sys.executable, "-m", "tests.crash.damage", str(quick_folder), *wanted]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = {one["case"]: one["problems"] for one in cases if one["problems"]}
    assert wrong == {}
    assert [one["case"] for one in cases] == wanted
    assert len(CASES) + len(FOLLOWED) >= LEAST
    record(
        "damage",
        f"{len(cases)} damage cases, {len(wrong)} wrong",
        "store, served folders, staging, catalog, records, mirror, exports, mark, lock; 0 foreign bytes changed",
        part="cases",
    )


def damaged(data: bytes) -> list[bytes]:
    rolled = random.Random(0)
    flips = []
    for _ in range(FLIPS):
        bit = rolled.randrange(len(data) * 8)
        flips.append(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
    return [*(data[:end] for end in range(len(data))), *flips]


def test_a_record_is_believed_whole_or_not_at_all(tmp_path: Path) -> None:
    records = Records(Layout(str(tmp_path)))
    records.save_release(release(2))
    records.save_attempted("main@sha1:0")
    whole = records.load()
    documents = ("variants/capitals-int4.json", "machine.json")
    told = 0
    for name in documents:
        path = tmp_path / "records" / name
        data = path.read_bytes()
        for bad in damaged(data):
            path.write_bytes(bad)
            found = Records(Layout(str(tmp_path))).load()
            assert found.damaged == (name,), bad
            told += 1
        durable.write_file(str(path), data)
    assert Records(Layout(str(tmp_path))).load() == whole
    record(
        "damage",
        f"records: {told:,} of {told:,} cuts and flips are noticed",
        "each record cut at each byte, and 1,000 of its bits turned",
        part="records",
    )
