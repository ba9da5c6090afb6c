"""Which model folders of a commit become sources that need no lock, because Git LFS keeps files of them, and which are
taken as they are. One repository has them all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.domain.sources.lfs_pointer import LONGEST, MARK, LfsPointer, read_pointer
from reconciler.domain.sources.locked import GIT
from reconciler.domain.sources.model_card import ModelCard
from reconciler.engine.resolve import resolve
from reconciler.host.stamps import StampBook
from reconciler.sources.cache import SourceCache
from reconciler.sources.folder.model import inspect_source
from reconciler.sources.git import lfs
from reconciler.sources.git.lfs import with_lfs_sources
from reconciler.sources.git.manifests_in_commit import CHECKOUT, InCommit, read_commit
from reconciler.sources.git.objects import Objects, Tree
from reconciler.sources.git.runner import GitRunner
from reconciler.sources.protocol import described
from tests.git_server import MODEL, Repository
from tests.lfs_server import keep_by_lfs, pointer_to
from tests.ready_onnx import DATA, GRAPH, OPENVINO_NODE, QNN_NODE, context, write_compiled, write_ready
from tests.sources.test_git_source import Machine

WEIGHTS, TOKENIZER, INDEX = "model.safetensors", "tokenizer.json", "model.safetensors.index.json"
SHARD, COMPILED, CONTEXT = "weights-1.safetensors", "openvino_model.bin", "weights_ctx.bin"
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
    (folder / "model-2.safetensors").write_bytes(POINTER)
    keep_by_lfs(folder, WEIGHTS)


# What becomes of a folder, and the codes of its problems where it is taken as it is.
FOLDERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...] | None]] = {
    "plain": (lambda folder: None, ()),
    "weights": (lambda folder: keep_by_lfs(folder, WEIGHTS), None),
    "everything": (lambda folder: keep_by_lfs(folder, *(one.name for one in folder.iterdir())), None),
    "sharded": (sharded, None),
    "index": (lambda folder: (sharded(folder), keep_by_lfs(folder, INDEX)), None),
    "card": (with_card, None),
    "tokenizer": (lambda folder: keep_by_lfs(folder, TOKENIZER), None),
    "shards": (lambda folder: (sharded(folder), keep_by_lfs(folder, TOKENIZER)), None),
    "beside": (
        lambda folder: [(folder / name).write_bytes(POINTER) for name in ("README.md", "training_args.bin")],
        (),
    ),
    "stray": (lambda folder: (folder / "model-fp32-00001-of-00002.safetensors").write_bytes(POINTER), ()),
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


def compiled(folder: Path, provider: str, node: dict[str, str | int], *names: str) -> None:
    write_compiled(folder, provider, context(**node))
    for name in names:
        (folder / name).write_bytes(POINTER)


# What is fetched of a ready folder, beside what git has; nothing where it is taken as it is.
READY: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "ready": (
        lambda folder: (keep_by_lfs(write_ready(folder), DATA), (folder / COMPILED).write_bytes(POINTER)),
        {DATA},
    ),
    "graph": (
        lambda folder: (keep_by_lfs(write_ready(folder), GRAPH), (folder / CONTEXT).write_bytes(POINTER)),
        {GRAPH, CONTEXT},
    ),
    "old": (lambda folder: (write_ready(folder) / "old.onnx").write_bytes(POINTER), set()),
    "openvino": (
        lambda folder: compiled(folder, "OpenVINO", OPENVINO_NODE, "model.xml", "model.bin", CONTEXT),
        {"model.xml", "model.bin"},
    ),
    "qnn": (lambda folder: compiled(folder, "QNN", QNN_NODE | {"ep_cache_context": CONTEXT}, CONTEXT), {CONTEXT}),
}


def fleet(folder: Path, model: Path) -> Repository:
    repository = Repository(folder / "fleet")
    for name, (change, _) in FOLDERS.items():
        change(Path(shutil.copytree(model, repository.folder / name)))
        repository.model(name, source=f"../{name}")
    for name, (write, _) in READY.items():
        write(repository.folder / name)
        source = f"{{onnx: {{path: ../{name}}}, original: {{path: ../weights}}}}"
        repository.write(f"manifests/{name}.yaml", MODEL.format(name=name, source="").replace("{path: }", source))
    repository.write("adapter/adapter_model.safetensors", POINTER)
    repository.write("adapter/adapter_config.json", "{}")
    repository.model("tuned", source="../weights, adapter: ../adapter")
    repository.commit()
    return repository


def test_folders_that_git_lfs_keeps_files_of(tmp_path: Path, capitals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    weights, everything = (models[name].remote for name in ("weights", "everything"))
    assert weights is not None
    assert (weights.kind, weights.folder, weights.repo) == (GIT, "weights", repository.folder.as_uri())
    assert weights.revision == repository.git("rev-parse", "HEAD:weights")
    for name in ("weights", "tokenizer"):
        known = described(models[name].remote)
        assert known is not None, name
        assert (known.digest, known.files) == (expected.digest, expected.files)
        assert known.chat_template == expected.chat_template
    assert everything is not None
    assert (everything.facts, everything.digest) == (None, weights.digest)  # pinned by the same bytes
    for name in ("sharded", "index", "shards"):
        assert SHARD in {one.path for one in models[name].remote.files}
        assert (models[name].remote.facts is None) == (name == "index")
    assert models["card"].remote.card == ModelCard(licenses=("mit",))
    signed = {"model.sig", "model-2.safetensors"}  # the signature may cover it
    assert {one.path for one in models["card"].remote.files} == {one.path for one in weights.files} | signed
    for name, (_, fetched) in READY.items():
        files = models[name].remote.files if models[name].remote else ()
        held = [one.path for one in files if (repository.folder / name / one.path).read_bytes().startswith(MARK)]
        assert (set(held), bool(files)) == (fetched, bool(fetched)), name
        assert by_model[name] == [], name
    assert models["ready"].remote.ready
    assert models["ready"].original == weights
    # Over ssh nothing is asked for what Git LFS keeps, so all is taken as it is.
    with Objects(GitRunner(str(machine.mirror), protocols=""), complete=True) as objects:
        tree = Tree(objects, machine.accepted)
        declared, folders = read_commit(tree, "manifests"), InCommit(tree, exact=False, seen={})
        assert with_lfs_sources(declared, tree, folders.at, "ssh://git@git.example.org/fleet.git") == declared
        followed = with_lfs_sources(declared, tree, folders.at, "https://git.example.org/fleet.git")
        assert followed != declared
        assert folders.source(f"{CHECKOUT}/beside").known  # of a folder that is converted, a .bin is never read
        # What git has is hashed once in a process.
        monkeypatch.setattr(lfs, "pieces_of", None)
        assert with_lfs_sources(declared, tree, folders.at, "https://git.example.org/fleet.git") == followed


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
