"""Which model folders of a commit become sources that need no lock, because Git LFS keeps files of them, and which are
taken as they are. One repository has them all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.domain.sources.lfs_pointer import LONGEST, LfsPointer, read_pointer
from reconciler.domain.sources.locked import GIT
from reconciler.domain.sources.model_card import ModelCard
from reconciler.engine.resolve import resolve
from reconciler.host.stamps import StampBook
from reconciler.sources.cache import SourceCache
from reconciler.sources.folder.model import inspect_source
from reconciler.sources.git.lfs import with_lfs_sources
from reconciler.sources.git.manifests_in_commit import InCommit, read_commit
from reconciler.sources.git.objects import Objects, Tree
from reconciler.sources.git.runner import GitRunner
from reconciler.sources.protocol import described
from tests.git_server import MODEL, Repository
from tests.lfs_server import keep_by_lfs, pointer_to
from tests.ready_onnx import BYTES, DATA, write_ready
from tests.sources.test_git_source import Machine

WEIGHTS, TOKENIZER, INDEX = "model.safetensors", "tokenizer.json", "model.safetensors.index.json"
SHARD, COMPILED = "weights-1.safetensors", "openvino_model.bin"
POINTER = pointer_to(b"x")
OID = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


def sharded(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / SHARD)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": SHARD}}))
    keep_by_lfs(folder, SHARD)


def with_card(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "model.sig").write_text("{}")
    (folder / "evil.bin").write_bytes(POINTER)
    keep_by_lfs(folder, WEIGHTS)


# What becomes of a folder, and the codes of its problems where it is taken as it is.
FOLDERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...] | None]] = {
    "plain": (lambda folder: None, ()),
    "weights": (lambda folder: keep_by_lfs(folder, WEIGHTS), None),
    "everything": (lambda folder: keep_by_lfs(folder, *(one.name for one in folder.iterdir())), None),
    "sharded": (sharded, None),
    "index": (lambda folder: (sharded(folder), keep_by_lfs(folder, INDEX)), None),
    "card": (with_card, None),
    "beside": (lambda folder: (folder / "README.md").write_bytes(POINTER), ()),
    "faulty": (
        lambda folder: (keep_by_lfs(folder, WEIGHTS), (folder / "config.json").write_text("{")),
        ("JsonInvalid", "LfsPointer"),
    ),
    "extended": (lambda folder: (folder / WEIGHTS).write_bytes(POINTER + b"ext-0-a b\n"), ("LfsPointer",)),
    "mixed": (
        lambda folder: (keep_by_lfs(folder, WEIGHTS), (folder / TOKENIZER).write_bytes(POINTER + b"x")),
        ("LfsPointer", "LfsPointer"),
    ),
}


def fleet(folder: Path, model: Path) -> Repository:
    repository = Repository(folder / "fleet")
    for name, (change, _) in FOLDERS.items():
        change(Path(shutil.copytree(model, repository.folder / name)))
        repository.model(name, source=f"../{name}")
    keep_by_lfs(write_ready(repository.folder / "ready"), DATA)
    repository.write(f"ready/{COMPILED}", POINTER)
    source = "{onnx: {path: ../ready}, original: {path: ../weights}}"
    repository.write("manifests/ready.yaml", MODEL.format(name="ready", source="").replace("{path: }", source))
    repository.write("adapter/adapter_model.safetensors", POINTER)
    repository.write("adapter/adapter_config.json", "{}")
    repository.model("tuned", source="../weights, adapter: ../adapter")
    repository.commit()
    return repository


def test_folders_that_git_lfs_keeps_files_of(tmp_path: Path, capitals: Path) -> None:
    repository = fleet(tmp_path, capitals)
    machine = Machine(tmp_path / "root", str(repository.folder))
    parsed = machine.follow().parsed
    assert parsed.problems == ()
    models = {one.name: one for one in parsed.models}
    found = resolve(parsed, StampBook.empty(), cache=SourceCache(machine.layout))
    by_model = {name: [one for one in found.problems if one.file.endswith(f"/{name}.yaml")] for name in models}
    for name, (_, codes) in FOLDERS.items():
        model, followed = models[name], codes is None
        assert (model.remote is not None, not model.source_path) == (followed, followed), name
        assert tuple(sorted(one.code for one in by_model[name])) == (codes or ()), name
    assert [one.code for one in by_model["tuned"]] == ["AdapterUnsupported", "LfsPointer"]
    assert all("--repo with an https address" in one.hint for one in by_model["tuned"] if one.code == "LfsPointer")
    # What git has of a folder is known before anything came, and is what will be found then.
    expected = inspect_source(str(capitals), StampBook.empty())
    weights, everything, ready = (models[name].remote for name in ("weights", "everything", "ready"))
    assert weights is not None
    assert (weights.kind, weights.folder, weights.repo) == (GIT, "weights", repository.folder.as_uri())
    assert weights.revision == repository.git("rev-parse", "HEAD:weights")
    known = described(weights)
    assert known is not None
    assert (known.digest, known.files, known.chat_template) == (expected.digest, expected.files, expected.chat_template)
    assert everything is not None
    assert (everything.facts, everything.digest) == (None, weights.digest)  # pinned by the same bytes
    for name in ("sharded", "index"):
        assert SHARD in {one.path for one in models[name].remote.files}
    assert models["card"].remote.card == ModelCard(licenses=("mit",))
    assert {one.path for one in models["card"].remote.files} == {one.path for one in weights.files} | {"model.sig"}
    assert ready is not None
    assert ready.ready
    assert {one.path: one.size for one in ready.files}.items() >= {DATA: BYTES, COMPILED: 1}.items()
    assert models["ready"].original == weights
    # Over ssh nothing is asked for what Git LFS keeps, so all is taken as it is.
    with Objects(GitRunner(str(machine.mirror), protocols=""), complete=True) as objects:
        tree = Tree(objects, machine.accepted)
        declared, at = read_commit(tree, "manifests"), InCommit(tree, exact=False, seen={}).at
        assert with_lfs_sources(declared, tree, at, "ssh://git@git.example.org/fleet.git") == declared
        assert with_lfs_sources(declared, tree, at, "https://git.example.org/fleet.git") != declared


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (POINTER, LfsPointer(oid=OID, size=1)),
        (POINTER[:-1], LfsPointer(oid=OID, size=1)),
        (POINTER.replace(b"size 1", b"size 0"), LfsPointer(oid=OID, size=0)),
        (POINTER.replace(b"\n", b"\r\n"), None),
        (POINTER + b"\n", None),
        (POINTER.replace(b"sha256:", b"sha512:"), None),
        (POINTER.replace(OID.encode(), OID.encode().upper()), None),
        (POINTER.replace(b"size 1", b"size -1"), None),
        (POINTER.replace(b"size 1", b"size 99999999999999"), None),
        (POINTER.replace(b"spec/v1", b"spec/v2"), None),
        (b"version https://git-lfs.github.com/spec/v1\next-0-x sha256:0\n" + POINTER.partition(b"\n")[2], None),
        (POINTER + b" " * LONGEST, None),
        (b"", None),
    ],
)
def test_only_a_pointer_as_git_lfs_writes_it_is_followed(data: bytes, expected: LfsPointer | None) -> None:
    assert read_pointer(data) == expected
