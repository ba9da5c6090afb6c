"""What test_crashes runs in processes that kill themselves. Each scenario is given a root that `prepare` made."""

import os
from collections.abc import Callable
from pathlib import Path

from reconciler.domain.layout import Layout
from reconciler.domain.recorded import RecordedRelease
from reconciler.host import durable
from reconciler.host.ownership import make_owner
from reconciler.host.stamps import StampBook
from reconciler.state.records import Records
from reconciler.store.artifact_store import ArtifactStore

KEY, OTHER_KEY = "sha256:" + "a" * 64, "sha256:" + "b" * 64
RECIPE: dict[str, object] = {"architecture": "LlamaForCausalLM", "precision": "int4"}
FILES = {"model.onnx": b"graph", "model.onnx.data": b"w" * (1 << 14), "deep/tokenizer.json": b"{}"}
OTHER_FILES = {**FILES, "model.onnx": b"another graph"}
MENDED = {"release.json": b"marker", "model.onnx": b"graph", "deep/x.json": b"{}"}


def store(root: str) -> ArtifactStore:
    return ArtifactStore(Layout(root), StampBook.load(os.path.join(root, "records", "stamps.json")))


def release(number: int) -> RecordedRelease:
    return RecordedRelease(
        variant="capitals-int4",
        number=number,
        release=f"sha256:{number}",
        parts={},
        build_key=KEY,
        recipe=RECIPE,
        generation={},
        registered="2026-01-01T00:00:00Z",
        revision="main@sha1:0",
        model="capitals",
        precision="int4",
        protected=False,
        artifact="sha256:a",
        size=1,
        template_origin="preset chatml",
    )


def put(root: str) -> None:
    store(root).put(OTHER_KEY, os.path.join(root, "staging", "other"), RECIPE)


def repair(root: str) -> None:
    store(root).put(KEY, os.path.join(root, "staging", "again"), RECIPE)


def remove(root: str) -> None:
    store(root).remove(KEY)


def publish(root: str) -> None:
    durable.publish(os.path.join(root, "staging", "folder"), os.path.join(root, "served", "capitals-int4", "1"))


def retire(root: str) -> None:
    stamps = StampBook.load(os.path.join(root, "records", "stamps.json"))
    trash = os.path.join(root, "trash")
    if os.path.exists(os.path.join(root, "served", "old")):
        durable.unname(os.path.join(root, "served", "old"), trash)
    for name in os.listdir(trash):
        durable.free(os.path.join(trash, name), remove=stamps.remove)


def mend(root: str) -> None:
    stamps = StampBook.load(os.path.join(root, "records", "stamps.json"))
    staged, final = os.path.join(root, "staging", "folder"), os.path.join(root, "served", "broken")
    durable.replace_files(staged, final, os.path.join(root, "quarantine", "1"), move=stamps.move)


def record(root: str) -> None:
    Records(Layout(root)).save_release(release(2))


def record_over_damage(root: str) -> None:
    Records(Layout(root)).save_timing("convert", "int4", 1, 1.0)


def draw_owner(root: str) -> None:
    make_owner(Layout(os.path.join(root, "fresh")))


def write_tree(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def prepare(root: Path) -> None:
    write_tree(root / "staging" / "first", FILES)
    artifact = store(str(root)).put(KEY, str(root / "staging" / "first"), RECIPE)
    write_tree(root / "staging" / "other", OTHER_FILES)
    write_tree(root / "staging" / "again", FILES)
    write_tree(root / "staging" / "folder", MENDED)
    write_tree(root / "served" / "broken", {"release.json": b"marker", "model.onnx": b"grapf", "foreign": b"f"})
    write_tree(root / "served" / "old", {"deep/release.json": b"old"})
    weights = next(file for file in artifact.files if file.path == "model.onnx.data")
    os.link(store(str(root)).blob(weights.digest), root / "served" / "old" / "model.onnx.data")
    (root / "trash").mkdir()
    Records(Layout(str(root))).save_release(release(1))
    (root / "records" / "machine.json").write_bytes(b"damaged")


SCENARIOS: dict[str, Callable[[str], None]] = {
    scenario.__name__: scenario
    for scenario in (put, repair, remove, publish, retire, mend, record, record_over_damage, draw_owner)
}


def play(scenario: str, root: str, crash_at: int) -> None:
    """In a process of its own, which kills itself before that step (0: none)."""
    durable._steps, durable._crash_at = 0, crash_at
    SCENARIOS[scenario](root)
