"""SIGKILL before each single step of every durable change: what is left must be the old state or the new one, and doing
it again must end in the new one. Each crash happens in a process of its own, on a root of its own."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.domain import digest
from reconciler.domain.layout import Layout
from reconciler.host.ownership import read_owner
from reconciler.host.stamps import EveryByte, StampBook
from reconciler.state.records import Records
from reconciler.store.check import check_store
from tests.host import crash_scenarios as scenarios
from tests.host.crash_scenarios import FILES, KEY, MENDED, OTHER_FILES, OTHER_KEY

FORKS = multiprocessing.get_context("forkserver")  # each a process of its own, and what they import is imported once
FORKS.set_forkserver_preload([scenarios.__name__])
LEAST_STEPS = 4


def run(scenario: str, root: Path, crash_at: int = 0) -> int:
    process = FORKS.Process(target=scenarios.play, args=(scenario, str(root), crash_at))
    process.start()
    process.join()
    code = process.exitcode
    process.close()
    return -1 if code is None else code


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def store_is_whole(root: Path) -> None:
    """Whatever the index names is there, to its last byte."""
    store = scenarios.store(str(root))
    listed = {one["digest"] for one in json.loads((root / "oci" / "index.json").read_bytes())["manifests"]}
    assert listed == {artifact.digest for artifact in store.artifacts().values()}
    book = EveryByte(StampBook.empty(), lambda count: None)
    found = check_store(Layout(str(root)), book)
    assert {one.code for one in found} <= {"BlobUnreferenced", "LeftOver"}, found  # the next pass sweeps these


def nothing_is_left_over(root: Path) -> None:
    store = scenarios.store(str(root))
    store.sweep()
    assert check_store(Layout(str(root)), EveryByte(StampBook.empty(), lambda count: None)) == ()
    blobs = root / "oci" / "blobs" / "sha256"
    assert all(digest.of_bytes(blob.read_bytes()) == "sha256:" + blob.name for blob in blobs.iterdir())
    named = {file.digest for artifact in store.artifacts().values() for file in artifact.files}
    assert len(list(blobs.iterdir())) == len(named) + 2 * len(store.artifacts())


def after_put(root: Path) -> None:
    store_is_whole(root)
    assert KEY in scenarios.store(str(root)).artifacts()


def finally_put(root: Path) -> None:
    scenarios.write_tree(root / "staging" / "other", OTHER_FILES)  # a killed put has taken some of the files
    assert run("put", root) == 0
    assert set(scenarios.store(str(root)).artifacts()) == {KEY, OTHER_KEY}
    store_is_whole(root)
    nothing_is_left_over(root)


def break_a_blob(root: Path) -> None:
    blob = Path(scenarios.store(str(root)).blob(digest.of_bytes(FILES["model.onnx"])))
    blob.chmod(0o644)
    blob.write_bytes(b"grapf")


def after_repair(root: Path) -> None:
    store = scenarios.store(str(root))
    damage = [store.damage(artifact) for artifact in store.artifacts().values()]
    assert damage in ([()], [("model.onnx",)])


def finally_repaired(root: Path) -> None:
    scenarios.write_tree(root / "staging" / "again", FILES)
    assert run("repair", root) == 0
    store_is_whole(root)
    nothing_is_left_over(root)


def finally_removed(root: Path) -> None:
    assert run("remove", root) == 0
    assert scenarios.store(str(root)).artifacts() == {}
    nothing_is_left_over(root)


def after_publish(root: Path) -> None:
    final = root / "served" / "capitals-int4" / "1"
    assert not final.exists() or tree(final) == MENDED


def finally_published(root: Path) -> None:
    if not (root / "served" / "capitals-int4" / "1").exists():
        assert run("publish", root) == 0
    assert tree(root / "served" / "capitals-int4" / "1") == MENDED


def after_retire(root: Path) -> None:
    old = root / "served" / "old"
    assert not old.exists() or set(tree(old)) == {"deep/release.json", "model.onnx.data"}
    store_is_whole(root)


def finally_retired(root: Path) -> None:
    assert run("retire", root) == 0
    assert not (root / "served" / "old").exists()
    assert os.listdir(root / "trash") == []


def after_mend(root: Path) -> None:
    found = tree(root / "served" / "broken")
    assert found.pop("release.json") == b"marker"
    assert found.pop("model.onnx") in (b"grapf", b"graph")
    assert found.pop("deep/x.json", b"{}") == b"{}"
    assert found.pop("foreign", b"f") == b"f"
    assert found == {}


def finally_mended(root: Path) -> None:
    scenarios.write_tree(root / "staging" / "folder", MENDED)
    assert run("mend", root) == 0
    assert tree(root / "served" / "broken") == MENDED
    assert tree(root / "quarantine") == {"1/foreign": b"f"}


def after_record(root: Path) -> None:
    recorded = Records(Layout(str(root))).load()
    assert recorded.releases["capitals-int4"].number == recorded.high_water["capitals-int4"]
    assert recorded.releases["capitals-int4"].number in (1, 2)
    assert recorded.damaged == ("machine.json",)


def finally_recorded(root: Path) -> None:
    assert run("record", root) == 0
    assert Records(Layout(str(root))).load().releases["capitals-int4"].number == 2


def after_record_over_damage(root: Path) -> None:
    records = root / "records"
    aside = [p for p in records.iterdir() if ".damaged-" in p.name]
    assert [p.read_bytes() for p in [records / "machine.json", *aside] if p.exists()].count(b"damaged") == 1


def finally_recorded_over_damage(root: Path) -> None:
    Records(Layout(str(root))).sweep()
    assert run("record_over_damage", root) == 0
    recorded = Records(Layout(str(root))).load()
    assert recorded.damaged == ()
    assert {timing.seconds for timing in recorded.timings} == {1.0}
    assert (root / "records" / "machine.json.damaged-1").read_bytes() == b"damaged"
    assert not list((root / "records").glob(".*"))


def after_owner(root: Path) -> None:
    assert len(read_owner(Layout(str(root / "fresh")))) in (0, 32)


def finally_owned(root: Path) -> None:
    mark = read_owner(Layout(str(root / "fresh")))
    assert run("draw_owner", root) == 0
    assert read_owner(Layout(str(root / "fresh"))) == mark or not mark


def nothing(root: Path) -> None:
    pass


Act = Callable[[Path], None]
CASES: dict[str, tuple[Act, Act, Act]] = {
    "put": (nothing, after_put, finally_put),
    "repair": (break_a_blob, after_repair, finally_repaired),
    "remove": (nothing, store_is_whole, finally_removed),
    "publish": (nothing, after_publish, finally_published),
    "retire": (nothing, after_retire, finally_retired),
    "mend": (nothing, after_mend, finally_mended),
    "record": (nothing, after_record, finally_recorded),
    "record_over_damage": (nothing, after_record_over_damage, finally_recorded_over_damage),
    "draw_owner": (nothing, after_owner, finally_owned),
}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", CASES)
def test_a_process_killed_at_any_step_leaves_the_old_or_the_new_state(tmp_path: Path, scenario: str) -> None:
    before, after, at_last = CASES[scenario]
    for step in range(1, 100):
        root = tmp_path / f"root {step}"
        scenarios.prepare(root)
        before(root)
        code = run(scenario, root, crash_at=step)
        assert code in (0, -9)
        after(root)
        at_last(root) if code else None
        shutil.rmtree(root)
        if code == 0:
            assert step > LEAST_STEPS
            return
    pytest.fail("it never ends")


def test_every_scenario_is_tested() -> None:
    assert set(CASES) == set(scenarios.SCENARIOS)
