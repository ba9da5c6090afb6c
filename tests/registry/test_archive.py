"""An archive as others may have written it: each lie is one clear error, before anything of it is taken."""

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain import digest as digests
from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import PermanentError
from reconciler.domain.release import Artifact
from reconciler.host import durable
from reconciler.registry import archive, oci_tar
from reconciler.registry.archive import EMPTY, FILES_TYPE, Attached
from reconciler.registry.oci_tar import ArchiveRefused, TarEntry, Writing, part_of
from reconciler.store import index, modelpack
from reconciler.store.modelpack import Packed

Files = dict[str, bytes]  # of the tar
RECIPE = {"precision": "int4"}
KEY = digests.of_value(RECIPE)
WEIGHTS = {"model.onnx": b"graph", "model.onnx.data": b"w" * 3000}
DECLARED = {"manifests/a.yaml": b"kind: Model\n", "manifests/b.yaml": b"kind: Model\n"}


def name_of(data: bytes) -> str:
    return oci_tar.blob_name(digests.of_bytes(data))


def files_of(weights: Files) -> tuple[StoredFile, ...]:
    return tuple(StoredFile(path=path, digest=digests.of_bytes(data), size=len(data)) for path, data in weights.items())


CONFIG = modelpack.config_bytes(RECIPE, files_of(WEIGHTS))


def manifest(**weights: bytes) -> bytes:
    return modelpack.manifest_bytes(KEY, RECIPE, files_of(weights or WEIGHTS), CONFIG)


def attached_to(data: bytes) -> bytes:
    part = {"mediaType": archive.EMPTY_TYPE, "digest": digests.of_bytes(EMPTY), "size": 2}
    document = {"artifactType": "x", "config": part, "layers": [part], "subject": {"digest": digests.of_bytes(data)}}
    return digests.canonical(document)


def good(made: bytes = b"", declared: bytes = b"", signature: bytes = b"") -> Files:
    made = made or manifest()
    declared = declared or archive.files_manifest("main@sha1:1", "manifests", DECLARED)
    signature = signature or attached_to(made)
    artifact = Packed(
        artifact=Artifact(digest=digests.of_bytes(made), build_key=KEY, files=()),
        size=len(made),
        config="",
        config_size=0,
    )
    one = Attached(digest=digests.of_bytes(signature), subject=artifact.artifact.digest, kind="x", data=signature)
    blobs = [made, declared, signature, EMPTY, CONFIG, *WEIGHTS.values(), *DECLARED.values()]
    return {
        "oci-layout": digests.canonical(index.LAYOUT),
        "index.json": archive.index_bytes("edge-7", [artifact], [one], declared),
        **{name_of(data): data for data in blobs},
    }


def packed(files: Files, change: Callable[[tarfile.TarInfo], None] = lambda header: None) -> io.BytesIO:
    """By the tar of the standard library."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            change(header)
            tar.addfile(header, io.BytesIO(data) if header.isreg() else None)
    return io.BytesIO(made.getvalue())


def with_index(**changes: Any) -> Files:
    files = good()
    document = json.loads(files["index.json"]) | changes
    return {**files, "index.json": json.dumps(document).encode()}


def listed() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(good()["index.json"])["manifests"]
    return found


def without(name: str) -> Files:
    return {path: data for path, data in good().items() if path != name}


def edited(data: bytes, **changes: Any) -> bytes:
    return digests.canonical(json.loads(data) | changes)


def test_a_good_one() -> None:
    files = good()
    contents = archive.read_contents(packed({"./blobs/": b"", **files}, _folders), "x.tar")
    [artifact] = contents.artifacts
    assert (artifact.packed.artifact.build_key, contents.machine) == (KEY, "edge-7")
    assert [one.kind for one in contents.of(artifact.packed.artifact.digest)] == ["x"]
    assert contents.declared is not None
    assert dict(contents.declared.digests) == {path: digests.of_bytes(data) for path, data in DECLARED.items()}
    assert contents.digest == digests.of_bytes(files["index.json"])


def _folders(header: tarfile.TarInfo) -> None:
    if header.name.endswith("/"):
        header.type = tarfile.DIRTYPE


def _typed(kind: bytes, header: tarfile.TarInfo) -> None:
    if header.name.startswith("blobs"):
        header.type, header.size, header.linkname = kind, 0, "/etc/passwd"


def cut(keep: float) -> io.BytesIO:
    data = packed(good()).getvalue().rstrip(b"\0")
    return io.BytesIO(data[: int(len(data) * keep)])


def swapped() -> Files:
    made = manifest()
    return {**good(), name_of(made): made.replace(b"model.onnx.data", b"model.0nnx.data")}


def negative() -> io.BytesIO:
    header = bytearray(tarfile.TarInfo("index.json").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 12
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 32 * 8 + sum(header[156:]))
    return io.BytesIO(bytes(header) + oci_tar.END)


def twice() -> io.BytesIO:
    one = packed(good()).getvalue().rstrip(b"\0")
    return io.BytesIO(one + b"\0" * (-len(one) % 512) + packed(good()).getvalue())


TWO = archive.files_manifest("main@sha1:2", "manifests", DECLARED)
LIES: dict[str, tuple[Callable[[], io.BytesIO], str]] = {
    "empty": (io.BytesIO, "was cut off, at byte 0"),
    "text": (lambda: io.BytesIO(b"no tar" * 200), "is no tar file"),
    "gzip": (lambda: io.BytesIO(b"\x1f\x8b" + b"x" * 600), "is packed with gzip"),
    "cut in a blob": (partial(cut, 0.6), "was cut off"),
    "cut between": (partial(cut, 1.0), "was cut off"),
    "a link": (lambda: packed(good(), partial(_typed, tarfile.SYMTYPE)), "no plain file"),
    "a hard link": (lambda: packed(good(), partial(_typed, tarfile.LNKTYPE)), "no plain file"),
    "a device": (lambda: packed(good(), partial(_typed, tarfile.CHRTYPE)), "no plain file"),
    "a pipe": (lambda: packed(good(), partial(_typed, tarfile.FIFOTYPE)), "no plain file"),
    "sparse": (lambda: packed(good(), partial(_typed, tarfile.GNUTYPE_SPARSE)), "no plain file"),
    "a long name": (lambda: packed({"x" * 300: b""}), "no plain file"),
    "another file": (lambda: packed({**good(), "x.so": b"x"}), "no plain file"),
    "outside": (lambda: packed({**good(), "../x": b"x"}), "no plain file"),
    "absolute": (lambda: packed({**good(), "/etc/x": b"x"}), "no plain file"),
    "twice": (twice, "twice"),
    "negative": (negative, "cut off"),
    "no layout": (lambda: packed(without("oci-layout")), "lacks oci-layout"),
    "another layout": (lambda: packed({**good(), "oci-layout": b"{}"}), "no OCI image layout"),
    "no index": (lambda: packed(without("index.json")), "lacks index.json"),
    "no list": (lambda: packed(with_index(manifests=7)), "not the form of an index"),
    "an index that is no JSON": (lambda: packed({**good(), "index.json": b"["}), "no JSON"),
    "deep": (lambda: packed({**good(), "index.json": b"[" * 100_000}), "no JSON"),
    "a listed path": (lambda: packed(with_index(manifests=[{"digest": "../../x", "size": 1}])), "lists"),
    "a manifest is gone": (lambda: packed(without(name_of(manifest()))), "lacks sha256:"),
    "a blob is gone": (lambda: packed(without(name_of(WEIGHTS["model.onnx"]))), "lacks sha256:"),
    "a stowaway": (lambda: packed({**good(), name_of(b"evil"): b"evil"}), "nothing in it names"),
    "another manifest": (lambda: packed(swapped()), "other bytes"),
    "a shorter blob": (lambda: packed({**good(), name_of(WEIGHTS["model.onnx"]): b"grap"}), "another size"),
    "two commits": (
        lambda: packed(
            {
                **with_index(manifests=[*listed(), {"digest": digests.of_bytes(TWO), "size": len(TWO)}]),
                name_of(TWO): TWO,
            }
        ),
        "two commits",
    ),
    "code": (lambda: packed(good(manifest(**{"x.so": b"x"}))), "is no data"),
    "a path": (lambda: packed(good(manifest(**{"../x": b"x"}))), "leads out of its folder"),
    "another recipe": (
        lambda: packed(good(edited(manifest(), annotations={modelpack.BUILD_KEY: KEY, modelpack.RECIPE: "{}"}))),
        "its recipe is not",
    ),
    "attached to nothing": (lambda: packed(good(signature=attached_to(b"nothing"))), "something that it lacks"),
    "neither": (lambda: packed(good(signature=edited(attached_to(manifest()), subject=None))), "neither an artifact"),
    "a manifest leads out": (
        lambda: packed(good(declared=archive.files_manifest("r", "m", {"../../etc/cron.d/x": b"kind: Model\n"}))),
        "leads out of its folder",
    ),
    "a manifest is absolute": (
        lambda: packed(good(declared=archive.files_manifest("r", "m", {"/etc/x": b"kind: Model\n"}))),
        "leads out of its folder",
    ),
    "a manifest is git's": (
        lambda: packed(good(declared=archive.files_manifest("r", "m", {".git/config": b"kind: Model\n"}))),
        "leads out of its folder",
    ),
    "a manifest for Windows": (
        lambda: packed(good(declared=archive.files_manifest("r", "m", {"m/con.yaml": b"kind: Model\n"}))),
        "leads out of its folder",
    ),
    "a file and a folder": (
        lambda: packed(
            good(declared=archive.files_manifest("r", "m", {"m": b"kind: Model\n", "m/a.yaml": b"kind: Model\n"}))
        ),
        "a file and a folder",
    ),
    "names by case": (
        lambda: packed(
            good(declared=archive.files_manifest("r", "m", {"m/A": b"kind: Model\n", "m/a": b"kind: Model\n"}))
        ),
        "there twice",
    ),
    "the folder leads out": (
        lambda: packed(good(declared=archive.files_manifest("r", "../..", DECLARED))),
        "names the folder",
    ),
    "another form": (
        lambda: packed(good(declared=digests.canonical({"artifactType": FILES_TYPE}))),
        "manifests of another form",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_named(name: str) -> None:
    lie, words = LIES[name]
    with pytest.raises(ArchiveRefused, match=words) as error:
        archive.read_contents(lie(), "x.tar")
    assert "\n" not in str(error.value)


def test_a_swapped_blob_never_gets_its_name(tmp_path: Path) -> None:
    data = WEIGHTS["model.onnx.data"]
    file = packed({**good(), name_of(data): b"v" * len(data)})
    contents, digest = archive.read_contents(file, "x.tar"), digests.of_bytes(data)
    with pytest.raises(ArchiveRefused, match="other bytes"):
        archive.copy_blob(file, contents.spans[digest], digest, str(tmp_path / "x"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArchiveRefused, match="other bytes"):
        archive.read_blob(file, contents.spans[digest], digest)


def entries(files: Files) -> list[TarEntry]:
    return [oci_tar.of_bytes(name, digests.of_bytes(data), data) for name, data in files.items()]


def test_what_is_written_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    Writing(str(path), entries(good())).run()
    with tarfile.open(path) as tar:
        assert {one.name: tar.extractfile(one).read() for one in tar} == good()  # type: ignore[union-attr]
        assert {(one.mtime, one.uid, one.gid, one.uname, one.mode) for one in tar} == {(0, 0, 0, "", 0o644)}
    with open(path, "rb") as file:
        assert archive.read_contents(file, "x.tar").declared is not None


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed (apt-get install skopeo)")
def test_skopeo_reads_it_and_what_skopeo_packs_is_read(tmp_path: Path) -> None:
    path, tag = tmp_path / "x.tar", index.tag_of(KEY)
    Writing(str(path), entries(good())).run()
    (tmp_path / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    copied = f"oci-archive:{tmp_path}/copied.tar:{tag}"
    command = [
        "skopeo",
        "--policy",
        str(tmp_path / "policy.json"),
        "copy",
        "--quiet",
        f"oci-archive:{path}:{tag}",
        copied,
    ]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    with open(tmp_path / "copied.tar", "rb") as file:
        contents = archive.read_contents(file, "copied.tar")
    assert [one.packed.artifact.build_key for one in contents.artifacts] == [KEY]
    assert (contents.machine, contents.declared, contents.attached) == ("", None, ())


def test_a_part_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    part = Path(part_of(str(path)))
    Writing(str(path), entries(good())).run()
    whole = path.read_bytes()
    for length in range(0, len(whole), 333):
        for rest in (b"", b"x" * 100):
            part.write_bytes(whole[:length] + rest)
            writing = Writing(str(path), entries(good()))
            assert length - 4096 < writing.begin() <= length
            writing.run()
            assert path.read_bytes() == whole
            assert not part.exists()


def test_it_has_its_name_only_once_its_bytes_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[str, ...]] = []
    flush, replace = durable._flush, durable._replace
    monkeypatch.setattr(durable, "_flush", lambda path, *more: (steps.append(("flush", path)), flush(path, *more)))
    monkeypatch.setattr(durable, "_replace", lambda *paths: (steps.append(paths), replace(*paths)))
    path = str(tmp_path / "x.tar")
    Writing(path, entries(good())).run()
    assert steps == [("flush", part_of(path)), (part_of(path), path), ("flush", str(tmp_path))]


def test_other_bytes_are_not_written(tmp_path: Path) -> None:
    def lying() -> Iterator[bytes]:
        yield b"other"

    files = [
        *entries(good()),
        TarEntry(name=name_of(b"bytes"), digest=digests.of_bytes(b"bytes"), size=5, pieces=lying),
    ]
    with pytest.raises(PermanentError, match="expected 5 of"):
        Writing(str(tmp_path / "x.tar"), files).run()
    assert not (tmp_path / "x.tar").exists()


def test_a_large_one_has_a_header_of_one_block() -> None:
    one = TarEntry(name=name_of(b""), digest="", size=1 << 37, pieces=lambda: iter(()))
    assert len(one.header) == 512
    assert tarfile.TarInfo.frombuf(one.header, "utf-8", "strict").size == 1 << 37
