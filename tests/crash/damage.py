"""What may have become of a machine, case by case, and what one pass makes of it. Each case is done to a converged
machine beside which foreign things lie; most must end as if nothing had happened, some must say why they cannot.

    python -m tests.crash.damage FOLDER      one JSON object for each case
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.backends.foundry.index import INDEX
from reconciler.domain.errors import ReconcilerError
from reconciler.engine.pass_result import PassResult
from tests.at_rest import edit_catalog, entry
from tests.crash import scenarios, stand_ins
from tests.crash.judging import at_rest, snapshot
from tests.crash.matrix import Bench
from tests.crash.scenarios import SCENARIOS, Scenario, World, overwrite

FOREIGN = {"root/../foreign/weights": b"not yours", "cache/other/model.onnx": b"another's", "cache/notes.txt": b"mine"}
SERVED, INDEXED, OWNED = "served/one-int4/1", f"../cache/{INDEX}", "owner"


@dataclass(frozen=True, kw_only=True)
class Case:
    """`says`: the code of the error that tells why nothing can be done; "" where all must be as before. `findings` are
    what `verify` may still tell afterwards, for a person."""

    do: Callable[[World], object]
    says: str = ""
    findings: tuple[str, ...] = ()
    act: Callable[[World], PassResult] = field(default=scenarios._apply)


def at(name: str) -> Callable[[World], Path]:
    return lambda world: world.root / name


def blob(name: str) -> Callable[[World], Path]:
    return lambda world: world.blob(name)


def manifest(world: World) -> Path:
    machine = world.opened()
    return Path(machine.store.blob(next(iter(machine.store.artifacts().values())).digest))


Where = Callable[[World], Path]
Do = Callable[[World], object]


def gone(where: Where) -> Do:
    def do(world: World) -> None:
        path = where(world)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    return do


def holds(where: Where, data: bytes) -> Do:
    return lambda world: overwrite(where(world), data)


def cut(where: Where) -> Do:
    return lambda world: overwrite(where(world), where(world).read_bytes()[: where(world).stat().st_size // 2])


def flipped(where: Where) -> Do:
    def do(world: World) -> None:
        data = bytearray(where(world).read_bytes())
        data[len(data) // 2] ^= 1
        overwrite(where(world), bytes(data))

    return do


def linked_away(where: Where) -> Do:
    """It is a link now, to a foreign thing of the same kind and content."""

    def do(world: World) -> None:
        path, aside = where(world), world.folder / "foreign" / "aside"
        path.rename(aside)
        path.symlink_to(aside, target_is_directory=aside.is_dir())

    return do


def links_to_foreign(where: Where) -> Do:
    def do(world: World) -> None:
        path = where(world)
        gone(lambda world: path)(world) if os.path.lexists(path) else None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(world.folder / "foreign", target_is_directory=True)

    return do


def becomes_folder(where: Where) -> Do:
    def do(world: World) -> None:
        path = where(world)
        path.unlink()
        path.mkdir()
        (path / "inside").write_bytes(b"mine")

    return do


def becomes_file(where: Where) -> Do:
    def do(world: World) -> None:
        path = where(world)
        shutil.rmtree(path, ignore_errors=True)
        path.write_bytes(b"mine")

    return do


def added(name: str, data: bytes = b"left") -> Do:
    def do(world: World) -> None:
        path = world.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return do


def listed(change: Callable[[World, dict[str, Any]], dict[str, Any]]) -> Do:
    return lambda world: edit_catalog(world, lambda entries: change(world, entries))


def same_times(where: Where) -> Do:
    """Edited, and size and mtime put back; nobody can put back the ctime."""

    def do(world: World) -> None:
        path = where(world)
        status, data = path.stat(), path.read_bytes()
        overwrite(path, bytes([data[0] ^ 1]) + data[1:])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return do


def half_of_the_blobs(world: World) -> None:
    for path in sorted((world.root / "oci" / "blobs" / "sha256").iterdir())[::2]:
        path.unlink()


def half_gone(where: Where, *, keep: str = "") -> Do:
    """Every second file below it."""

    def do(world: World) -> None:
        files = sorted(path for path in where(world).rglob("*") if path.is_file() and path.name != keep)
        for path in files[::2]:
            path.unlink()

    return do


def half_listed(world: World, entries: dict[str, Any]) -> dict[str, Any]:
    """Of ours."""
    ours = sorted(entries.keys() - {"other:1"})
    return {name: entries[name] for name in (*ours[::2], "other:1")}


def another_owner(world: World) -> None:
    path = world.root / SERVED / "release.json"
    overwrite(path, path.read_bytes().replace((world.root / "owner").read_bytes().strip(), b"f" * 32))


def fifo(world: World) -> None:
    path = world.root / SERVED / "tokenizer.json"
    path.unlink()
    os.mkfifo(path)


def record_of_the_other(world: World) -> None:
    variants = world.root / "records" / "variants"
    overwrite(variants / "one-int4.json", (variants / "two-int8.json").read_bytes())


def repointed(world: World, entries: dict[str, Any]) -> dict[str, Any]:
    return entries | {"one-int4:1": entries["one-int4:1"] | {"model_path": entries["two-int8:1"]["model_path"]}}


def said_wrongly(name: str, value: str) -> Do:
    def change(world: World, entries: dict[str, Any]) -> dict[str, Any]:
        entries["one-int4:1"]["model_info"]["stringProperties"][name] = value
        return entries

    return listed(change)


LATER = ("ArtifactMissing", "BlobMissing", "BlobDamaged", "ManifestDamaged")  # built again when a release needs it
RECORDS = ("machine", "conditions", "variants/one-int4", "measurements")
STORE = {
    "a small blob is edited": Case(do=holds(blob("tokenizer.json"), b"[]"), findings=LATER),
    "a small blob is cut": Case(do=cut(blob("tokenizer_config.json")), findings=LATER),
    "a small blob is gone": Case(do=gone(blob("tokenizer.json")), findings=LATER),
    "the shared weights are flipped": Case(do=flipped(blob("model.onnx.data"))),
    "the shared weights are cut": Case(do=cut(blob("model.onnx.data"))),
    "the shared weights are emptied": Case(do=holds(blob("model.onnx.data"), b"")),
    "the shared weights are edited and the times put back": Case(do=same_times(blob("model.onnx.data"))),
    "the weights are gone from the store": Case(do=gone(blob("model.onnx.data")), findings=LATER),
    "a blob is a link": Case(do=linked_away(blob("tokenizer.json")), findings=LATER),
    "a blob is a folder": Case(do=becomes_folder(blob("tokenizer.json")), findings=LATER),
    "a manifest is gone": Case(do=gone(manifest), findings=LATER),
    "a manifest is flipped": Case(do=flipped(manifest), findings=LATER),
    "the store's index is gone": Case(do=gone(at("oci/index.json"))),
    "the store's index is cut": Case(do=cut(at("oci/index.json"))),
    "the store's index is empty": Case(do=holds(at("oci/index.json"), b"")),
    "the store's index lists nothing": Case(do=holds(at("oci/index.json"), b'{"manifests": []}')),
    "the store's index is a folder": Case(do=becomes_folder(at("oci/index.json"))),
    "the layout's marker is gone": Case(do=gone(at("oci/oci-layout"))),
    "half of the blobs are gone": Case(do=half_of_the_blobs, findings=LATER),
    "all blobs are gone": Case(do=gone(at("oci/blobs")), findings=LATER),
    "the store is gone": Case(do=gone(at("oci")), findings=LATER),
    "a blob that nobody names": Case(do=added("oci/blobs/sha256/" + "a" * 64)),
    "half a write in the store": Case(do=added("oci/.index.json.0a1b2c3d.tmp")),
}
SERVING = {
    "a served file is edited": Case(do=holds(at(f"{SERVED}/genai_config.json"), b"{}")),
    "a served file is flipped": Case(do=flipped(at(f"{SERVED}/inference_model.json"))),
    "a served file is emptied": Case(do=holds(at(f"{SERVED}/tokenizer.json"), b"")),
    "a served file is gone": Case(do=gone(at(f"{SERVED}/tokenizer.json"))),
    "a served file is edited and the times put back": Case(do=same_times(at(f"{SERVED}/genai_config.json"))),
    "the served weights are gone": Case(do=gone(at(f"{SERVED}/model.onnx.data"))),
    "a served file is a link": Case(do=linked_away(at(f"{SERVED}/tokenizer.json"))),
    "a served file is a folder": Case(do=becomes_folder(at(f"{SERVED}/tokenizer.json"))),
    "a served file is a FIFO": Case(do=fifo),
    "a foreign file beside": Case(do=added(f"{SERVED}/mine.txt")),
    "a foreign folder beside": Case(do=added(f"{SERVED}/deep/er/mine.txt")),
    "half a write of the marker": Case(do=added(f"{SERVED}/.release.json.0a1b2c3d.tmp")),
    "the marker is gone": Case(do=gone(at(f"{SERVED}/release.json"))),
    "the marker is cut": Case(do=cut(at(f"{SERVED}/release.json"))),
    "the marker is flipped": Case(do=flipped(at(f"{SERVED}/release.json"))),
    "the marker names another owner": Case(do=another_owner),
    "the folder of a release is gone": Case(do=gone(at(SERVED))),
    "the folder of a release is a file": Case(do=becomes_file(at(SERVED))),
    "the folder of a release is a link": Case(do=linked_away(at(SERVED))),
    "the folder of a variant is gone": Case(do=gone(at("served/one-int4"))),
    "the folder of a variant is a file": Case(do=becomes_file(at("served/one-int4"))),
    "the folder of a variant is a link": Case(do=linked_away(at("served/one-int4"))),
    "half of what is served is gone": Case(do=half_gone(at("served"))),
    "all that is served is gone": Case(do=gone(at("served"))),
    "served is a link": Case(do=linked_away(at("served")), findings=("None",)),  # whole, so it stays
    "served is a link to a foreign folder": Case(do=links_to_foreign(at("served"))),
}
BETWEEN = {
    "leftovers in staging": Case(do=added("staging/work/0a/tree/x")),
    "leftovers in the trash": Case(do=added("trash/0a/deep/x")),
    "staging is gone": Case(do=lambda world: shutil.rmtree(world.root / "staging", ignore_errors=True)),
    "half of a staging is gone": Case(
        do=lambda world: (
            added("staging/work/0a/tree/x")(world),
            added("staging/work/0a/tree/y")(world),
            half_gone(at("staging"))(world),
        )
    ),
    "staging is a file": Case(do=becomes_file(at("staging"))),
    "the trash is a file": Case(do=becomes_file(at("trash"))),
    "staging is a link": Case(do=links_to_foreign(at("staging"))),
    "the trash is a link": Case(do=links_to_foreign(at("trash"))),
    "a link in staging": Case(do=links_to_foreign(at("staging/x"))),
    "the logs are gone": Case(do=lambda world: shutil.rmtree(world.root / "logs", ignore_errors=True)),
    "the lock's file is gone": Case(do=gone(at("lock"))),
    "somebody who died holds the lock": Case(do=added("lock.holder", b'{"pid": 1}')),
    "the lock's holder is garbage": Case(do=added("lock.holder", b"\xff")),
}
CATALOG = {
    "a registration is gone": Case(do=listed(lambda world, all: {n: e for n, e in all.items() if n != "one-int4:1"})),
    "half of ours are gone": Case(do=listed(half_listed)),
    "all of ours are gone": Case(do=listed(lambda world, all: {"other:1": all["other:1"]})),
    "a registration leads elsewhere": Case(do=listed(repointed)),
    "a registration names another release": Case(do=said_wrongly("reconciler_release", "sha256:0")),
    "a registration has lost our mark": Case(
        do=said_wrongly("reconciler_owner", ""), findings=("RegistrationUnmarked",)
    ),
    "half a write of Foundry Local": Case(do=added(INDEXED + ".tmp", b"{")),
    "the catalog is cut": Case(do=cut(at(INDEXED)), says="CatalogBroken"),
    "the catalog is empty": Case(do=holds(at(INDEXED), b""), says="CatalogBroken"),
    "the catalog is of a later version": Case(do=holds(at(INDEXED), b'{"version": 3}'), says="CatalogBroken"),
}
RECORDED = {
    "the records are gone": Case(do=gone(at("records")), findings=("None",)),  # but for the history
    "half of the records are gone": Case(do=half_gone(at("records")), findings=("None",)),
    "the records of variants are gone": Case(do=gone(at("records/variants"))),
    "the stamps are gone": Case(do=gone(at("records/stamps.json"))),
    "the stamps are cut": Case(do=cut(at("records/stamps.json"))),
    "the stamps are garbage": Case(do=holds(at("records/stamps.json"), b"\xff" * 100)),
    "an older version left a parse there": Case(do=added("records/parsed.json", b"{}")),
    "the events are torn": Case(do=cut(at("records/events.jsonl"))),
    "the events are gone": Case(do=gone(at("records/events.jsonl"))),
    "a record stands under another name": Case(do=record_of_the_other),
    "a record is a folder": Case(do=becomes_folder(at("records/variants/one-int4.json"))),
    "a record is a link": Case(do=linked_away(at("records/variants/one-int4.json"))),
    "half a write in the records": Case(do=added("records/variants/.one-int4.json.0a1b2c3d.tmp")),
    "the mark is gone": Case(do=gone(at(OWNED)), says="Usage"),
    "the mark is garbage": Case(do=holds(at(OWNED), b"mine"), says="OwnerUnreadable"),
    "the mark is empty": Case(do=holds(at(OWNED), b""), says="OwnerUnreadable"),
    **{f"{name} is cut": Case(do=cut(at(f"records/{name}.json"))) for name in RECORDS},
    **{f"{name} is flipped": Case(do=flipped(at(f"records/{name}.json"))) for name in RECORDS},
    **{f"{name} is empty": Case(do=holds(at(f"records/{name}.json"), b"")) for name in RECORDS},
    **{f"{name} is gone": Case(do=gone(at(f"records/{name}.json"))) for name in RECORDS},
}


def edited_export(world: World) -> None:
    for path in sorted((world.root / "sources").glob("*/config.json")):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b" ")


def pack(world: World) -> Path:
    return next((world.root / "mirror.git" / "objects" / "pack").glob("*.pack"))


def beside_the_pack(ending: str) -> Where:
    return lambda world: pack(world).with_suffix(ending)


def git(world: World, *arguments: str, given: bytes = b"") -> bytes:
    command = ["git", "--git-dir", str(world.root / "mirror.git"), *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def unpacked(world: World) -> dict[str, str]:
    """Every object as a file of its own; their kinds by name."""
    aside = world.folder / "git-aside.pack"
    held = pack(world)
    held.rename(aside)
    for path in held.parent.iterdir():
        path.unlink()
    git(world, "unpack-objects", "-q", given=aside.read_bytes())
    aside.unlink()
    told = git(world, "cat-file", "--batch-all-objects", "--batch-check").decode().splitlines()
    return {line.split()[0]: line.split()[1] for line in told}


def loose(world: World, name: str) -> Path:
    return world.root / "mirror.git" / "objects" / name[:2] / name[2:]


def half_of_the_objects(world: World) -> None:
    for name in sorted(unpacked(world))[::2]:
        loose(world, name).unlink()


def object_is_garbage(kind: str) -> Do:
    def do(world: World) -> None:
        name = min(name for name, found in unpacked(world).items() if found == kind)
        overwrite(loose(world, name), b"garbage")

    return do


def ref_holds(data: bytes) -> Do:
    def do(world: World) -> None:
        named = git(world, "for-each-ref", "--format=%(refname)").decode().split()
        path = world.root / "mirror.git" / named[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return do


MIRRORED = {
    "the mirror is gone": gone(at("mirror.git")),
    "the mirror's head is gone": gone(at("mirror.git/HEAD")),
    "the mirror's head is garbage": holds(at("mirror.git/HEAD"), b"\xff"),
    "the mirror's configuration is garbage": holds(at("mirror.git/config"), b"[["),
    "a pack is cut": cut(pack),
    "a pack is flipped": flipped(pack),
    "a pack is gone": gone(pack),
    "a pack's index is cut": cut(beside_the_pack(".idx")),
    "a pack's index is flipped": flipped(beside_the_pack(".idx")),
    "a pack's index is gone": gone(beside_the_pack(".idx")),
    "a pack is empty": holds(pack, b""),
    "the mirror's objects are loose, and half are gone": half_of_the_objects,
    "a commit is garbage": object_is_garbage("commit"),
    "a tree is garbage": object_is_garbage("tree"),
    "a blob is garbage": object_is_garbage("blob"),
    "a ref is garbage": ref_holds(b"garbage"),
    "a ref is empty": ref_holds(b""),
    "a ref names what is not there": ref_holds(b"1" * 40 + b"\n"),
    "half of the mirror is gone": half_gone(at("mirror.git")),
    "the mirror's refs are gone": gone(at("mirror.git/refs")),
    "the mirror is a file": becomes_file(at("mirror.git")),
    "the mirror is a link": linked_away(at("mirror.git")),
    "the mirror's objects are gone": gone(at("mirror.git/objects")),
    "a lock of a killed git": added("mirror.git/shallow.lock", b""),
    "half a pack of a killed git": added("mirror.git/objects/pack/tmp_pack_x"),
    "an exported model is edited": edited_export,
    "the exported models are gone": gone(at("sources")),
    "half an export": added("sources/staging/0a/x"),
}
FOLLOWED = {name: Case(do=do, act=scenarios._follow) for name, do in MIRRORED.items()}
CASES = {**STORE, **SERVING, **BETWEEN, **CATALOG, **RECORDED}


def _beside(world: World) -> None:
    """Things of somebody else's, and one of them in Foundry Local's catalog."""
    for name, data in FOREIGN.items():
        path = Path(os.path.normpath(world.folder / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    theirs = entry("other:1", str(world.cache / "other"), {"extra": "theirs"})
    edit_catalog(world, lambda entries: {**entries, "other:1": theirs})


def _converged(prepare: Callable[[World], object], act: Callable[[World], PassResult]) -> Callable[[World], None]:
    def do(world: World) -> None:
        prepare(world)
        act(world)
        _beside(world)
        assert act(world).converged

    return do


BASES = {
    "folder": (Scenario(prepare=_converged(scenarios._nothing_served, scenarios._apply), act=scenarios._apply), CASES),
    "git": (Scenario(prepare=_converged(scenarios._in_git, scenarios._follow), act=scenarios._follow), FOLLOWED),
}


def judged(bench: Bench, case: Case) -> list[str]:
    bench.restore()
    world = bench.world
    foreign = world.folder / "foreign"
    for path in foreign.glob("aside*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    case.do(world)
    theirs = _theirs(world)
    said = bench._forked(lambda: _acted(case, world), 0)
    problems = [] if said == case.says else [f"said {said!r}, expected {case.says!r}"]
    if _theirs(world) != theirs:
        problems.append(f"foreign things changed: {sorted(_theirs(world).items() ^ theirs.items())}")
    if case.says or problems:
        return problems
    found = [one for one in at_rest(world) if not any(f"verify: {code}" in one for code in case.findings)]
    if not case.findings:
        now = json.loads(json.dumps(snapshot(world)))
        found += [
            f"{name} differs"
            for name in now.keys() | bench.expected.keys()
            if now.get(name) != bench.expected.get(name)
        ]
    return found


def _acted(case: Case, world: World) -> str:
    try:
        result = case.act(world)
    except ReconcilerError as error:
        return error.code
    if result.converged or case.findings:
        return ""
    return str([(o.change.action, o.code, o.message) for o in result.failed] or result.remaining)[:1000]


def _theirs(world: World) -> dict[str, bytes]:
    found = {}
    for folder in (world.folder / "foreign", world.cache / "other"):
        for path in folder.rglob("*"):
            if path.is_file():
                found[str(path.relative_to(world.folder))] = path.read_bytes()
    found["notes"] = (world.cache / "notes.txt").read_bytes()
    try:
        found["other:1"] = json.dumps(world.index()["other:1"]).encode()
    except (ValueError, KeyError):
        found["other:1"] = (world.cache / INDEX).read_bytes()
    return found


def main() -> None:
    stand_ins.work_quickly()
    wanted = sys.argv[2:]
    for base, (scenario, cases) in BASES.items():
        SCENARIOS[base] = scenario
        bench = Bench(base, Path(sys.argv[1]) / base)
        for name, case in cases.items():
            if not wanted or name in wanted:
                os.write(1, (json.dumps({"case": name, "problems": judged(bench, case)}) + "\n").encode())


if __name__ == "__main__":
    main()
