"""The artifact store on a real file system; skopeo, where it is installed, as the referee of its form."""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain import digest
from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import DiskFull, PermanentError
from reconciler.domain.layout import Layout
from reconciler.domain.manifest import Target
from reconciler.domain.plain_data import as_dict
from reconciler.domain.release import Artifact
from reconciler.host.lock import hold
from reconciler.host.stamps import StampBook
from reconciler.registry.artifact import read
from reconciler.store import modelpack
from reconciler.store.artifact_store import ArtifactStore
from reconciler.store.modelpack import NotAnArtifact, is_safe_path

RECIPE: dict[str, object] = {"architecture": "LlamaForCausalLM", "precision": "int4", "source": "sha256:1"}
KEY, OTHER_KEY = "sha256:" + "a" * 64, "sha256:" + "b" * 64
WEIGHTS = os.urandom(1 << 20) + b"."
FILES = {"model.onnx": b"graph", "model.onnx.data": WEIGHTS, "deep/tokenizer.json": b"{}"}


class Root:
    """A root folder whose path is not a simple one, opened anew for each look as a new process would."""

    def __init__(self, path: Path) -> None:
        self.layout = Layout(str(path))
        self.blobs = path / "oci" / "blobs" / "sha256"
        self.index = path / "oci" / "index.json"
        self._trees = 0

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.layout, StampBook.load(self.layout.at("records", "stamps.json")))

    def tree(self, files: dict[str, bytes]) -> str:
        self._trees += 1
        tree = Path(self.layout.staging) / str(self._trees)
        for name, data in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
        return str(tree)

    def put(self, key: str = KEY, files: dict[str, bytes] | None = None) -> Artifact:
        return self.store.put(key, self.tree(files or FILES), RECIPE)

    def read_index(self) -> dict[str, Any]:
        index: dict[str, Any] = json.loads(self.index.read_bytes())
        return index


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "ein Ordner für 日本語")


def test_what_is_put_can_be_had_again_by_any_process(root: Root) -> None:
    artifact = root.put()
    assert root.store.artifacts() == {KEY: artifact}
    assert root.store.damage(artifact) == ()
    for file in artifact.files:
        assert Path(root.store.blob(file.digest)).read_bytes() == FILES[file.path]
        assert os.stat(root.store.blob(file.digest)).st_mode & 0o777 == 0o444
    assert {file.path: file.size for file in artifact.files} == {k: len(v) for k, v in FILES.items()}
    assert artifact.size == sum(map(len, FILES.values()))


def test_a_store_that_does_not_exist_is_an_empty_one_and_is_not_made_by_reading(root: Root) -> None:
    assert root.store.artifacts() == {}
    assert not Path(root.layout.root).exists()


def test_weights_are_moved_into_the_store_and_not_copied(root: Root) -> None:
    tree = root.tree(FILES)
    inode = os.stat(os.path.join(tree, "model.onnx.data")).st_ino
    root.store.put(KEY, tree, RECIPE)
    assert os.stat(root.store.blob(digest.of_bytes(WEIGHTS))).st_ino == inode


def test_the_same_files_and_recipe_give_the_same_digest_on_every_machine(tmp_path: Path) -> None:
    one, two = Root(tmp_path / "one"), Root(tmp_path / "two")
    os.utime(one.tree(FILES))
    assert one.put() == two.put(files=dict(reversed(FILES.items())))
    assert one.index.read_bytes() == two.index.read_bytes()


def test_the_layout_is_what_other_tools_expect(root: Root) -> None:
    artifact = root.put()
    assert json.loads((root.index.parent / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    [descriptor] = root.read_index()["manifests"]
    assert descriptor["digest"] == artifact.digest
    assert descriptor["annotations"]["reconciler.foundry/build-key"] == KEY
    manifest = json.loads((root.blobs / artifact.digest[7:]).read_bytes())
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    kinds = {one["annotations"]["org.cncf.model.filepath"]: one["mediaType"] for one in manifest["layers"]}
    assert kinds == {
        "deep/tokenizer.json": "application/vnd.cncf.model.weight.config.v1.raw",
        "model.onnx": "application/vnd.cncf.model.weight.v1.raw",
        "model.onnx.data": "application/vnd.cncf.model.weight.v1.raw",
    }
    config = json.loads((root.blobs / manifest["config"]["digest"][7:]).read_bytes())
    assert config["config"] == {"format": "onnx", "architecture": "LlamaForCausalLM", "precision": "int4"}
    assert config["modelfs"]["diffIds"] == [file.digest for file in artifact.files]


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_copies_an_artifact_and_its_digest_stays(root: Root, tmp_path: Path) -> None:
    artifact = root.put()
    (tmp_path / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    shutil.copytree(root.layout.oci, tmp_path / "oci")  # skopeo splits at the first colon and takes no spaces
    source, target = f"oci:{tmp_path}/oci:build-{KEY[7:]}", f"dir:{tmp_path}/out"
    subprocess.run(["skopeo", "copy", "--policy", tmp_path / "policy.json", source, target], check=True, timeout=60)
    copied = (tmp_path / "out" / "manifest.json").read_bytes()
    assert digest.of_bytes(copied) == artifact.digest
    assert (tmp_path / "out" / digest.of_bytes(WEIGHTS)[7:]).read_bytes() == WEIGHTS


def test_nothing_is_stored_twice_for_one_build_key(root: Root) -> None:
    first = root.put()
    again = root.tree({"model.onnx": b"another result"})
    assert root.store.put(KEY, again, RECIPE) == first
    assert os.path.exists(os.path.join(again, "model.onnx"))


def test_artifacts_share_equal_files(root: Root) -> None:
    root.put()
    root.put(OTHER_KEY, {**FILES, "model.onnx": b"another graph"})
    assert sum(path.stat().st_size == len(WEIGHTS) for path in root.blobs.iterdir()) == 1


def test_removing_frees_only_what_nobody_else_uses(root: Root) -> None:
    root.put()
    other = root.put(OTHER_KEY, {**FILES, "model.onnx": b"another graph"})
    freed = root.store.remove(KEY)
    assert 0 < freed < len(WEIGHTS)
    assert root.store.artifacts() == {OTHER_KEY: other}
    assert root.store.damage(other) == ()
    assert root.store.remove(OTHER_KEY) > len(WEIGHTS)
    assert list(root.blobs.iterdir()) == []
    assert root.store.remove(OTHER_KEY) == 0


def test_bytes_that_a_served_folder_still_holds_are_not_counted_as_freed(root: Root, tmp_path: Path) -> None:
    root.put()
    os.link(root.store.blob(digest.of_bytes(WEIGHTS)), tmp_path / "served")
    assert root.store.remove(KEY) < len(WEIGHTS)
    assert (tmp_path / "served").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("how", ["gone", "truncated", "flipped"])
def test_damage_is_named_and_the_next_put_repairs_it(root: Root, name: str, how: str) -> None:
    artifact = root.put()
    blob = Path(root.store.blob(digest.of_bytes(FILES[name])))
    blob.chmod(0o644)
    if how == "gone":
        blob.unlink()
    else:
        blob.write_bytes(FILES[name][:-1] if how == "truncated" else FILES[name][:-1] + b"!")
    assert root.store.damage(artifact) == (name,)
    assert root.put() == artifact
    assert root.store.damage(artifact) == ()


def test_a_repair_with_other_bytes_replaces_the_artifact(root: Root) -> None:
    old = root.put()
    Path(root.store.blob(digest.of_bytes(WEIGHTS))).unlink()
    new = root.put(files={**FILES, "model.onnx": b"not deterministic"})
    assert new != old
    assert root.store.artifacts() == {KEY: new}
    root.store.sweep()
    assert not os.path.exists(root.store.blob(digest.of_bytes(b"graph")))


def test_a_damaged_manifest_is_no_artifact(root: Root) -> None:
    artifact = root.put()
    manifest = root.blobs / artifact.digest[7:]
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes().replace(b"deep/tokenizer.json", b"deep/tokenizer.jsom"))
    assert root.store.artifacts() == {}
    assert root.put() == artifact


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"manifests": [1]}', b'{"manifests": {}}', b"\xff"])
def test_a_lost_or_damaged_index_is_rebuilt_from_the_blobs(root: Root, content: bytes | None) -> None:
    artifact, other = root.put(), root.put(OTHER_KEY, {"model.onnx": b"another"})
    root.index.unlink()
    if content is not None:
        root.index.write_bytes(content)
    assert root.store.artifacts() == {KEY: artifact, OTHER_KEY: other}
    root.store.sweep()
    assert root.store.damage(artifact) == ()
    root.store.remove(OTHER_KEY)
    assert root.store.artifacts() == {KEY: artifact}
    assert len(root.read_index()["manifests"]) == 1


def test_entries_of_other_tools_are_kept_with_all_they_name(root: Root) -> None:
    artifact = root.put()
    layer = root.blobs / digest.of_bytes(b"foreign layer")[7:]
    layer.write_bytes(b"foreign layer")
    manifest = digest.canonical({"config": None, "layers": [{"digest": "sha256:" + layer.name}]})
    (root.blobs / digest.of_bytes(manifest)[7:]).write_bytes(manifest)
    foreign = {"digest": digest.of_bytes(manifest), "annotations": {"org.opencontainers.image.ref.name": "x"}}
    index = root.read_index()
    root.index.write_text(json.dumps({**index, "manifests": [*index["manifests"], foreign]}))
    assert root.store.artifacts() == {KEY: artifact}
    root.put(OTHER_KEY, {"model.onnx": b"another"})
    root.store.remove(KEY)
    root.store.remove(OTHER_KEY)
    assert root.read_index()["manifests"] == [foreign]
    assert layer.read_bytes() == b"foreign layer"


def test_an_index_that_is_none_any_more_keeps_what_it_still_says(root: Root) -> None:
    artifact = root.put()
    foreign = {"digest": "sha256:" + "d" * 64, "annotations": {"org.opencontainers.image.ref.name": "x"}}
    root.index.write_text(json.dumps({"manifests": [foreign]}))
    root.store.sweep()
    assert foreign in root.read_index()["manifests"]
    assert root.store.artifacts() == {KEY: artifact}


def test_a_folder_where_a_blob_belongs_is_moved_aside(root: Root) -> None:
    artifact = root.put()
    for blob in list(root.blobs.iterdir()):
        blob.unlink()
        blob.mkdir()
        (blob / "mine").write_text("mine")
    assert root.put() == artifact
    assert root.store.damage(artifact) == ()
    assert not list(root.blobs.glob("*.tmp"))
    kept = list(Path(root.layout.at("quarantine")).rglob("mine"))
    assert len(kept) == len(list(root.blobs.iterdir()))


def put_foreign_image(root: Root) -> list[Path]:
    """As another tool pushes one: its blobs are here, and only the index names its manifest."""
    layer, config = b"foreign layer", b"{}"
    parts = {"config": {"digest": digest.of_bytes(config)}, "layers": [{"digest": digest.of_bytes(layer)}]}
    manifest = digest.canonical({"schemaVersion": 2, **parts})
    nested = digest.canonical({"schemaVersion": 2, "manifests": [{"digest": digest.of_bytes(manifest)}]})
    blobs = [root.blobs / digest.of_bytes(data)[7:] for data in (layer, config, manifest, nested)]
    for blob, data in zip(blobs, (layer, config, manifest, nested), strict=True):
        blob.write_bytes(data)
    return blobs


@pytest.mark.parametrize("content", [None, b"{", b"[" * 100_000, b'{"manifests": []}'])
@pytest.mark.parametrize("change", ["sweep", "put", "remove"])
def test_a_lost_index_costs_nobody_a_blob(root: Root, content: bytes | None, change: str) -> None:
    artifact = root.put()
    blobs = put_foreign_image(root)
    unnamed = root.blobs / ("c" * 64)
    unnamed.write_bytes(b"whose is it?")
    root.index.unlink()
    if content is not None:
        root.index.write_bytes(content)
    store = root.store
    if change == "put":
        store.put(OTHER_KEY, root.tree({"model.onnx": b"another"}), RECIPE)
    elif change == "remove":
        assert store.remove(OTHER_KEY) == 0
    assert store.sweep() == 0
    assert unnamed.exists()
    set_aside = root.index.with_name("index.json.damaged-1")
    assert (set_aside.read_bytes() if content is not None else None) == content
    root.store.sweep()  # in the next pass only what no manifest names is left over
    assert not unnamed.exists()
    assert all(blob.exists() for blob in blobs)
    assert root.store.artifacts()[KEY] == artifact
    assert root.store.damage(artifact) == ()


@pytest.mark.parametrize("place", ["oci", "oci/blobs", "oci/blobs/sha256"])
def test_nothing_is_deleted_behind_a_link(root: Root, tmp_path: Path, place: str) -> None:
    root.put()
    linked, elsewhere = Path(root.layout.root) / place, tmp_path / "another tool's"
    linked.rename(elsewhere)
    linked.symlink_to(elsewhere)
    theirs = [root.blobs / ("c" * 64), root.blobs / "x.0a1b2c3d.tmp"]
    for path in theirs:
        path.write_bytes(b"theirs")
    assert root.store.sweep() == 0
    root.put(OTHER_KEY, {"model.onnx": b"another"})
    assert root.store.remove(KEY) == 0
    assert all(path.exists() for path in theirs)


def test_what_is_no_file_among_the_blobs_breaks_nothing(root: Root) -> None:
    artifact = root.put()
    (root.blobs / ("c" * 64)).mkdir()
    (root.blobs / ("d" * 64)).symlink_to("nowhere")
    root.index.unlink()
    root.store.sweep()
    root.store.sweep()
    assert root.store.artifacts() == {KEY: artifact}


def test_an_index_that_is_a_fifo_is_not_waited_for(root: Root) -> None:
    artifact = root.put()
    root.index.unlink()
    os.mkfifo(root.index)
    assert root.store.artifacts() == {KEY: artifact}
    root.store.sweep()
    assert len(root.read_index()["manifests"]) == 1


def test_nothing_is_swept_while_an_entry_of_another_tool_cannot_be_read(root: Root) -> None:
    root.put()
    (root.blobs / ("c" * 64)).write_bytes(b"whose is it?")
    index = root.read_index()
    foreign = {"digest": "sha256:" + "d" * 64}
    root.index.write_text(json.dumps({**index, "manifests": [*index["manifests"], foreign]}))
    assert root.store.sweep() == 0
    assert (root.blobs / ("c" * 64)).exists()


@pytest.mark.parametrize(
    "name", ["x.so", "x.so.1", "x.DLL", "x.dylib", "x.py", "x.pkl", "x.pt", "deep/pytorch_model.bin", "a\\b", "a:b"]
)
def test_code_and_names_that_lead_elsewhere_are_refused(root: Root, name: str) -> None:
    with pytest.raises(PermanentError, match="is not data") as refusal:
        root.put(files={**FILES, name: b"x"})
    assert refusal.value.code == "ArtifactRefused"
    assert root.store.artifacts() == {}


def compiled_for(provider: str) -> tuple[dict[str, object], tuple[StoredFile, ...], bytes]:
    recipe = {**RECIPE, "target": as_dict(Target(device="npu", execution_provider=provider))}
    files = tuple(StoredFile(path=name, digest=KEY, size=1) for name in ("model.bin", "model.onnx", "model.xml"))
    config = modelpack.config_bytes(recipe, files)
    return recipe, files, modelpack.manifest_bytes(digest.of_value(recipe), recipe, files, config)


def test_what_was_compiled_is_held_for_its_provider_alone(root: Root) -> None:
    """In the store, and when it comes from a registry. For every other one its name is a pickle's."""
    recipe, files, manifest = compiled_for("OpenVINOExecutionProvider")
    names = {file.path for file in files}
    tree = root.tree(dict.fromkeys(names, b"x"))
    assert {file.path for file in root.store.put(KEY, tree, recipe).files} == names
    assert read(KEY, manifest).artifact.files == files
    with pytest.raises(NotAnArtifact, match=r"model\.bin"):
        read(KEY, compiled_for("CUDAExecutionProvider")[2])
    with pytest.raises(PermanentError, match="is not data"):
        root.store.put(OTHER_KEY, root.tree({"model.onnx": b"x", "model.so": b"x"}), recipe)


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "fifo", "not utf-8"])
def test_links_and_devices_are_refused(root: Root, kind: str) -> None:
    tree = root.tree(FILES)
    odd = os.path.join(tree, "odd.onnx")
    if kind == "link to a file":
        os.symlink("/etc/hostname", odd)
    elif kind == "link to a folder":
        os.symlink("/etc", odd)
    elif kind == "fifo":
        os.mkfifo(odd)
    else:
        Path(os.fsdecode(os.fsencode(tree) + b"/\xff.onnx")).write_bytes(b"x")
    with pytest.raises(PermanentError) as refusal:
        root.store.put(KEY, tree, RECIPE)
    assert refusal.value.code == "ArtifactRefused"


def test_an_empty_tree_is_refused(root: Root) -> None:
    os.makedirs(root.layout.at("staging", "empty"))
    with pytest.raises(PermanentError, match="holds no files"):
        root.store.put(KEY, root.layout.at("staging", "empty"), RECIPE)


@pytest.mark.parametrize("name", ["sha256:../../x", "", "sha256:" + "A" * 64, "md5:" + "a" * 32])
def test_only_a_digest_names_a_blob(root: Root, name: str) -> None:
    with pytest.raises(ValueError, match="is no sha256 digest"):
        root.store.blob(name)


def test_a_hard_linked_result_is_copied_so_that_its_other_name_cannot_change_the_store(root: Root) -> None:
    tree = root.tree(FILES)
    os.link(os.path.join(tree, "model.onnx.data"), root.layout.at("staging", "cache of the converter"))
    artifact = root.store.put(KEY, tree, RECIPE)
    Path(root.layout.at("staging", "cache of the converter")).write_bytes(b"changed later")
    assert root.store.damage(artifact) == ()


def test_a_full_disk_leaves_the_last_good_artifact_and_removing_it_makes_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", disk], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting needs root")
    try:
        root = Root(disk / "root")
        artifact = root.put()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "model.onnx").write_bytes(os.urandom(6 << 20))
        with pytest.raises(DiskFull):
            root.store.put(OTHER_KEY, str(elsewhere), RECIPE)
        assert root.store.artifacts() == {KEY: artifact}
        assert root.store.damage(artifact) == ()
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
            while filler.write(b"x" * 512):
                pass
        assert os.statvfs(disk).f_bavail == 0
        with hold(root.layout.lock, command="apply"):
            assert root.store.remove(KEY) > len(WEIGHTS)
        assert root.read_index()["manifests"] == []
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        *[(name, True) for name in ("a", "a/b", "a.b/..c", "...", "a b/ü", ".hidden", "a/.b")],
        *[(name, False) for name in ("", ".", "..", "/a", "a/", "a//b", "./a", "a/..", "../a", "a/./b", "C:x")],
        *[(name, False) for name in ("a\\b", "a\0b", "..\\a")],
    ],
)
def test_a_path_is_safe_only_below_its_folder(path: str, safe: bool) -> None:
    assert is_safe_path(path) is safe
