"""Each promise about a machine at rest, broken on its own: `verify` names exactly that, and nothing else."""

# mypy: disable-error-code="func-returns-value"
# (rows of a table call what returns nothing)

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.finding import FINDINGS
from reconciler.domain.machine.backends import BackendSettings
from reconciler.domain.machine.facts import Traits
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.engine.machine import open_machine
from reconciler.host.codec import seal, unseal
from reconciler.host.lock import hold
from reconciler.operations.verify import verify
from tests.at_rest import edit_catalog, entry, opened
from tests.backends.test_dropped_folders import rot
from tests.machine import TestMachine, tree

VARIANT = "capitals-int4"
IDENTITY = f"{VARIANT}:1"


def found(machine: TestMachine) -> list[str]:
    return [f"{one.code} {one.where}" for one in verify(opened(machine), thorough=True)]


def test_a_machine_at_rest_has_no_findings_and_is_not_written_to(machine: TestMachine) -> None:
    before = tree(machine.folder)
    assert found(machine) == []
    assert tree(machine.folder) == before


def test_whole_sources_have_no_findings_and_are_not_written_to(machine: TestMachine) -> None:
    from_the_hub(machine)
    from_git(machine)
    before = tree(machine.folder)
    assert found(machine) == []
    assert tree(machine.folder) == before


def test_a_root_that_is_a_link_has_no_findings(machine: TestMachine) -> None:
    machine.root.rename(machine.folder / "elsewhere")
    machine.root.symlink_to(machine.folder / "elsewhere")
    edit_catalog(
        machine,
        lambda e: {
            n: o | {"model_path": o["model_path"].replace(str(machine.root), str(machine.root.resolve()))}
            for n, o in e.items()
        },
    )
    assert found(machine) == []


def test_an_empty_root_has_no_findings(tmp_path: Path) -> None:
    assert found(TestMachine(folder=tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def served(machine: TestMachine, name: str) -> Path:
    return machine.root / "served" / VARIANT / "1" / name


def index(machine: TestMachine) -> Path:
    return machine.root / "oci" / "index.json"


def manifest(machine: TestMachine) -> Path:
    digest = json.loads(index(machine).read_bytes())["manifests"][0]["digest"]
    return blob(machine, digest)


def blob(machine: TestMachine, digest: str) -> Path:
    return machine.root / "oci" / "blobs" / "sha256" / digest.removeprefix("sha256:")


def weights(machine: TestMachine) -> Path:
    layers = json.loads(manifest(machine).read_bytes())["layers"]
    return blob(machine, max(layers, key=lambda layer: layer["size"])["digest"])


def write(path: Path, data: bytes) -> None:
    if path.exists():
        path.chmod(0o644)
    path.write_bytes(data)


def edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    write(path, data.replace(old, new, 1))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    write(path, bytes(data))


def edit_marker(machine: TestMachine, **changes: object) -> None:
    path = served(machine, "release.json")
    write(path, seal(unseal(path.read_bytes()) | changes))


def edit_descriptor(machine: TestMachine, **changes: object) -> None:
    document = json.loads(index(machine).read_bytes())
    document["manifests"][0] |= changes
    write(index(machine), json.dumps(document).encode())


def repoint(entries: dict[str, Any]) -> dict[str, Any]:
    return {IDENTITY: entries[IDENTITY] | {"model_path": "/elsewhere"}}


def misname(entries: dict[str, Any]) -> dict[str, Any]:
    entries[IDENTITY]["model_info"]["stringProperties"]["reconciler_artifact"] = "sha256:0"
    return entries


def shadow(machine: TestMachine) -> None:
    path = str(machine.root / "served" / VARIANT / "1")
    edit_catalog(machine, lambda entries: {**entries, "mine:1": entry("mine:1", path, {})})


def record_what_is_not_served(machine: TestMachine) -> None:
    path = machine.root / "records" / "variants" / f"{VARIANT}.json"
    document = unseal(path.read_bytes())
    document["release"]["number"] = document["highWater"] = 7
    path.write_bytes(seal(document))


def from_the_hub(machine: TestMachine) -> Path:
    """A whole source on the shelf, named after its files."""
    files = tuple(
        LockedFile(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in WEIGHTS.items()
    )
    name = LockedSource(repo="", revision="", files=files).digest.removeprefix("sha256:")
    folder = machine.root / "sources" / "hub" / name
    folder.mkdir(parents=True)
    for path, data in WEIGHTS.items():
        (folder / path).write_bytes(data)
    return folder


def from_git(machine: TestMachine) -> Path:
    """A mirror, and a model folder that was written out of it."""
    mirror = machine.root / "mirror.git"
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]

    def git(*arguments: str, said: bytes = b"") -> str:
        done = subprocess.run([*command, *arguments], input=said, capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("init", "--quiet", "--bare", str(mirror))
    at = f"--git-dir={mirror}"
    blobs = {name: git(at, "hash-object", "-w", "--stdin", said=data) for name, data in WEIGHTS.items()}
    tree = git(at, "mktree", said="".join(f"100644 blob {b}\t{n}\n" for n, b in blobs.items()).encode())
    git(at, "update-ref", "refs/heads/main", git(at, "commit-tree", "-m", "x", tree))
    folder = machine.root / "sources" / tree
    folder.mkdir(parents=True)
    for name, data in WEIGHTS.items():
        (folder / name).write_bytes(data)
    return folder


def link(machine: TestMachine, name: str) -> None:
    shutil.move(machine.root / name, machine.folder / "elsewhere")
    (machine.root / name).symlink_to(machine.folder / "elsewhere")


def loose_object(machine: TestMachine) -> Path:
    objects = machine.root / "mirror.git" / "objects"
    return max((path for path in objects.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


WEIGHTS = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 50}
MODEL = f"served/{VARIANT}/1"
CASES: dict[str, tuple[Callable[[TestMachine], object], list[str]]] = {
    "a flipped bit": (lambda m: flip(served(m, "model.onnx.data")), [f"ServedFolderDamaged {MODEL}"]),
    "a file gone": (lambda m: served(m, "tokenizer.json").unlink(), [f"ServedFolderDamaged {MODEL}"]),
    "a foreign file": (lambda m: served(m, "x").touch(), [f"ServedFolderDamaged {MODEL}"]),
    "a link in place of a file": (
        lambda m: (
            shutil.move(served(m, "model.onnx"), m.folder / "moved"),
            served(m, "model.onnx").symlink_to(m.folder / "moved"),
        ),
        [f"ServedFolderDamaged {MODEL}"],
    ),
    "a marker without its seal": (
        lambda m: edit(served(m, "release.json"), b'"protected":false', b'"protected":true '),
        [f"ReleaseUnreadable {MODEL}"],
    ),
    "a marker that contradicts itself": (
        lambda m: edit_marker(m, recipe={"precision": "int8"}),
        [f"ReleaseInconsistent {MODEL}"],
    ),
    "a marker of another owner": (lambda m: edit_marker(m, owner="f" * 32), [f"OwnerDisagrees {MODEL}"]),
    "the owner mark lost": (
        lambda m: (m.root / "owner").unlink(),
        [f"RegistrationUnmarked {IDENTITY}", "OwnerMissing owner"],
    ),
    "no folder behind a registration": (
        lambda m: shutil.rmtree(m.root / "served" / VARIANT / "1"),
        [f"RegistrationDangling {IDENTITY}"],
    ),
    "a registration removed by hand": (
        lambda m: edit_catalog(m, lambda _: {}),
        [f"FolderUnregistered {MODEL}", f"RecordDisagrees {IDENTITY}"],
    ),
    "a registration pointed elsewhere": (lambda m: edit_catalog(m, repoint), [f"RegistrationElsewhere {IDENTITY}"]),
    "a registration that lies": (lambda m: edit_catalog(m, misname), [f"RegistrationDisagrees {IDENTITY}"]),
    "our folder under a foreign name": (shadow, ["RegistrationUnmarked mine:1"]),
    "a file among the variants": (lambda m: (m.root / "served" / "notes").touch(), ["ServedForeign served/notes"]),
    "a folder that is no number": (
        lambda m: (m.root / "served" / VARIANT / "01").mkdir(),
        [f"ServedForeign served/{VARIANT}/01"],
    ),
    "a link to a foreign model": (
        lambda m: (m.root / "served" / VARIANT / "2").symlink_to(m.folder / "fleet" / "model"),
        [f"ServedForeign served/{VARIANT}/2"],
    ),
    "a record of what is not there": (record_what_is_not_served, [f"RecordDisagrees {VARIANT}:7"]),
    "a torn record": (
        lambda m: write(m.root / "records" / "conditions.json", b'{"sha'),
        ["RecordDamaged records/conditions.json"],
    ),
    "a torn record of a variant": (
        lambda m: flip(m.root / "records" / "variants" / f"{VARIANT}.json"),
        [f"RecordDamaged records/variants/{VARIANT}.json"],
    ),
    "a torn log of events": (
        lambda m: write(m.root / "records" / "events.jsonl", b'{"type": "x"}\n{"ty'),
        ["EventsTorn records/events.jsonl"],
    ),
    "half an artifact in staging": (lambda m: (m.root / "staging" / "x").mkdir(parents=True), ["LeftOver staging/x"]),
    "something in trash": (lambda m: (m.root / "trash" / "x").mkdir(parents=True), ["LeftOver trash/x"]),
    "a write cut short": (
        lambda m: (m.root / "records" / ".x.0a1b2c3d.tmp").touch(),
        ["LeftOver records/.x.0a1b2c3d.tmp"],
    ),
    "a catalog that cannot be read": (
        lambda m: write(m.cache / "foundry.local.modelinfo.json", b"{"),
        ["CatalogBroken", f"FolderUnregistered {MODEL}", f"RecordDisagrees {IDENTITY}"],
    ),
    "an index that cannot be read": (lambda m: write(index(m), b"{"), ["StoreUnreadable oci/index.json"]),
    "no oci-layout": (lambda m: (m.root / "oci" / "oci-layout").unlink(), ["StoreUnreadable oci/oci-layout"]),
    "the whole store gone": (lambda m: shutil.rmtree(m.root / "oci"), [f"ArtifactMissing {MODEL}"]),
    "a wrong size in the index": (lambda m: edit_descriptor(m, size=1), ["ManifestDamaged"]),
    "another build key in the index": (
        lambda m: edit_descriptor(m, annotations={"reconciler.foundry/build-key": "sha256:" + "0" * 64}),
        ["ManifestDamaged"],
    ),
    "a flipped bit in a manifest": (
        lambda m: flip(manifest(m)),
        [f"ArtifactMissing {MODEL}", "ManifestDamaged", "BlobDamaged"],
    ),
    "a flipped bit in a blob": (lambda m: flip(weights(m)), ["BlobDamaged"]),
    "a truncated blob": (lambda m: write(weights(m), b"w"), ["BlobDamaged", "BlobDamaged"]),
    "a missing blob": (lambda m: weights(m).unlink(), ["BlobMissing"]),
    "a blob that nothing names": (
        lambda m: blob(m, "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae").write_bytes(b"foo"),
        ["BlobUnreferenced"],
    ),
    "a source with a flipped bit": (
        lambda m: flip(from_the_hub(m) / "model.safetensors"),
        ["SourceDamaged sources/hub/"],
    ),
    "a source without one of its files": (
        lambda m: (from_the_hub(m) / "config.json").unlink(),
        ["SourceDamaged sources/hub/"],
    ),
    "a mirror with a flipped bit": (lambda m: (from_git(m), flip(loose_object(m))), ["MirrorDamaged mirror.git"]),
    "an export with a flipped bit": (lambda m: flip(from_git(m) / "model.safetensors"), ["ExportDamaged sources/"]),
    "an export with a foreign file": (lambda m: (from_git(m) / "x").touch(), ["ExportDamaged sources/"]),
    "a store that is a link": (lambda m: link(m, "oci"), ["FolderLinked oci"]),
    "served folders that are a link": (lambda m: link(m, "served"), ["FolderLinked served"]),
    "ages that cannot be trusted": (
        lambda m: write(m.root / "records" / "quarantine.json", b"{}"),
        ["RecordDamaged records/quarantine.json"],
    ),
    "half a fetch": (
        lambda m: (m.root / "sources" / "hub" / "trash" / "x").mkdir(parents=True),
        ["LeftOver sources/hub/trash/x"],
    ),
    "a foreign file among the blobs": (lambda m: blob(m, "notes").touch(), ["BlobForeign oci/blobs/sha256/notes"]),
}


@pytest.mark.parametrize("case", CASES)
def test_each_broken_promise_is_named(machine: TestMachine, case: str) -> None:
    damage, expected = CASES[case]
    damage(machine)
    findings = found(machine)
    assert len(findings) == len(expected), findings
    for finding, start in zip(findings, expected, strict=True):
        assert finding.startswith(start)


def test_what_file_managers_write_is_neither_content_nor_foreign(machine: TestMachine) -> None:
    store = machine.root / "oci" / "blobs" / "sha256"
    visited = [machine.root, store, served(machine, "x").parent, machine.root / "served", from_the_hub(machine)]
    for folder in (*visited, machine.root / "served" / VARIANT, from_git(machine)):
        (folder / ".DS_Store").write_bytes(b"a view")
        (folder / "desktop.ini").touch()
    assert found(machine) == []


def test_what_somebody_else_is_working_on_is_no_leftover(machine: TestMachine) -> None:
    with hold(str(machine.root / "lock"), command="run"):
        (machine.root / "staging" / "work" / "1").mkdir(parents=True)
        (machine.root / "records" / ".x.0a1b2c3d.tmp").touch()
        beside = machine.run("verify")
        assert (beside.code, beside.out) == (0, "everything is as it must be\n"), beside.err
        assert len(found(machine)) == 2  # who holds the lock is not taken in by itself
        (machine.root / "served" / "notes").touch()
        beside = machine.run("verify")
        assert (beside.code, beside.out.splitlines()[-1]) == (1, "1 finding")
        assert f"note: the root is held by pid {os.getpid()} on " in beside.err
    assert machine.run("verify").out.splitlines()[-1] == "3 findings"


def test_every_code_is_in_the_closed_set_and_every_code_is_tested() -> None:
    tested = {finding.partition(" ")[0] for _, expected in CASES.values() for finding in expected}
    assert tested | {"RegistrationDamaged"} == FINDINGS.keys()


def test_what_one_of_two_runtimes_lacks_is_found(machine: TestMachine) -> None:
    other = BackendSettings(name="foundry-local-1", catalog=str(machine.folder / "cache-1"))
    both = open_machine(str(machine.root), str(machine.cache), Traits(backends=(BackendSettings(), other)))
    assert [(one.code, one.message) for one in verify(both)] == [
        ("RegistrationDamaged", "not registered in foundry-local-1")
    ]


def test_rot_in_a_copy_that_another_runtime_has_is_found(machine: TestMachine) -> None:
    other = BackendSettings(name="foundry-local-1", catalog=str(machine.folder / "cache-1"))
    both = open_machine(str(machine.root), str(machine.cache), Traits(backends=(BackendSettings(), other)))
    (entry,) = (one for one in both.backend.registrations() if one.owner)
    with both.backend.runtime(scratch=str(machine.root / "staging" / "x"), log="", stamps=both.stamps) as runtime:
        ours = {name: text for name, text in entry.properties.items() if name.startswith("reconciler_")}
        runtime.register(entry.path, entry.id, ours)
    assert verify(both) == ()
    name, _, number = entry.id.rpartition(":")
    rot(machine.folder / "cache-1" / "reconciler" / f"{name}-{number}", "tokenizer.json")
    (finding,) = verify(both)
    assert (finding.code, finding.message) == (
        "RegistrationDamaged",
        "tokenizer.json changed in the cache (foundry-local-1)",
    )
    assert "`touch` it" in finding.hint


def test_rot_behind_an_unchanged_stamp_is_found_and_a_touch_makes_the_next_pass_see_it(machine: TestMachine) -> None:
    """A disk that rots changes no time. A stamp cannot be forged from here, so the book is told to believe."""
    path = served(machine, "model.onnx.data")
    look = opened(machine)
    good = look.stamps.digest(str(path))
    flip(path)
    look.stamps.vouch(str(path), good)
    look.stamps.save()
    assert machine.plan() == []
    (finding,) = verify(opened(machine))
    assert finding.code == "ServedFolderDamaged"
    assert "touch" in finding.hint
    os.utime(path)
    assert machine.plan() == [f"repair DriftDetected {VARIANT}"]


def test_every_flip_in_a_served_folder_is_found(machine: TestMachine) -> None:
    for path in sorted((machine.root / "served" / VARIANT / "1").iterdir()):
        sound = path.read_bytes()
        for position in range(0, len(sound), max(1, len(sound) // 25)):
            write(path, sound[:position] + bytes([sound[position] ^ 0x10]) + sound[position + 1 :])
            assert found(machine), f"{path.name} at {position}"
        write(path, sound)
    assert found(machine) == []


def test_a_blob_with_two_names_is_read_once_and_progress_ends_at_its_total(machine: TestMachine) -> None:
    os.link(weights(machine), machine.root / "served" / VARIANT / "1" / "shared")
    told: list[tuple[int, int]] = []
    verify(opened(machine), lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    done, total = told[-1]
    assert done <= total
    names = [p for p in (machine.root / "oci" / "blobs").rglob("*") if p.is_file()]
    names += [p for p in (machine.root / "served").rglob("*") if p.is_file()]
    assert total == sum({p.stat().st_ino: p.stat().st_size for p in names}.values())


def test_a_prune_that_died_before_it_could_forget_is_finished_by_the_next_pass(machine: TestMachine) -> None:
    """Neither Foundry Local nor Olive is needed for it: there is nothing left but the record."""
    edit_catalog(machine, lambda entries: {})
    shutil.rmtree(machine.root / "served" / VARIANT)
    shutil.rmtree(machine.root / "oci")
    (machine.manifests / "capitals.yaml").unlink()
    assert found(machine) == [f"RecordDisagrees {IDENTITY}"]
    assert machine.run("apply").code == 3
    assert machine.run("apply", "--confirm").code == 0
    assert found(machine) == []


def test_the_command_says_one_line_a_finding_and_exits_1(machine: TestMachine) -> None:
    sound = machine.run("verify")
    assert (sound.code, sound.out) == (0, "everything is as it must be\n")
    flip(served(machine, "model.onnx.data"))
    done = machine.run("verify")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0] == f"ServedFolderDamaged: {MODEL}: model.onnx.data changed"
    assert lines[1].startswith("hint: `reconciler apply`")
    (finding,) = machine.run("verify", "-o", "json").json()["findings"]
    assert finding["code"] == "ServedFolderDamaged"
