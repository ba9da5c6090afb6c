"""What must be true of a machine in the very moment after a crash, and once it has been mended. Invariant I1 is judged
here with nothing of the program's own: the index, the marker and every byte are read anew."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reconciler.host.codec import Damaged, unseal
from reconciler.operations.verify import verify
from tests.crash.scenarios import World
from tests.crash.stand_ins import tree_of

TIMES = {
    "superseded",
    "retired",
    "created",
    "registered",
    "lastTransitionTime",
    "first",
    "last",
    "revision",
    "attempts",
    "delay",
}
NUMBERED = {"number", "highWater", "high_water", "reconciler_revision"}
UNSTEADY = ("timings", "lastAttemptedRevision", "sha256", "gates")  # verdicts go with the numbers they are of
LEFT_ALONE = ("events", "stamps.json", "parsed.json", "lock", "measurements.json", "quarantine.json")


def listed(world: World) -> dict[str, dict[str, Any]]:
    return world.index()


def wrong_releases(world: World) -> Iterator[str]:
    """I1: a name visible to Foundry Local resolves to a complete release whose file digests match."""
    for identity, entry in listed(world).items():
        if "reconciler_release" in entry["model_info"]["stringProperties"]:
            yield from _wrong(identity, Path(entry["model_path"]))
    yield from world.wrong_copies()


def _wrong(identity: str, folder: Path) -> Iterator[str]:
    try:
        document = json.loads((folder / "release.json").read_bytes())["body"]
    except (OSError, ValueError, LookupError) as error:
        yield f"{identity}: no marker: {error}"
        return
    if f"{document['variant']}:{document['number']}" != identity:
        yield f"{identity}: the marker is of {document['variant']}:{document['number']}"
    promised = {file["path"]: file["digest"] for file in document["files"]}
    if tree_of(document["build_key"])["model.onnx.data"] != (folder / "model.onnx.data").read_bytes():
        yield f"{identity}: the weights are not those of its recipe"
    found = {
        path.relative_to(folder).as_posix(): "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "release.json"
    }
    for name in sorted(promised.keys() | found.keys()):
        if promised.get(name) != found.get(name):
            yield f"{identity}: {name} is {found.get(name)}, promised is {promised.get(name)}"


def not_served(world: World, before: set[str]) -> Iterator[str]:
    """I2: what was served and is still wanted has a release at any time."""
    for variant in sorted(before - {identity.rpartition(":")[0] for identity in listed(world)}):
        yield f"{variant}: nothing serves it any more"


def reused_numbers(world: World, releases: dict[str, str]) -> Iterator[str]:
    """An id is never given to other content. `releases` grows: id -> release, over the life of this machine."""
    for identity, entry in listed(world).items():
        release = entry["model_info"]["stringProperties"].get("reconciler_release", "")
        if releases.setdefault(identity, release) != release:
            yield f"{identity}: was {releases[identity]}, is {release}"


def damaged_records(world: World) -> Iterator[str]:
    """I10: each record is the old one or the new one."""
    for path in sorted((world.root / "records").rglob("*.json")):
        try:
            unseal(path.read_bytes())
        except Damaged as error:
            yield f"{path.name}: {error}"


def after_the_crash(world: World, before: set[str], releases: dict[str, str], *, damaged: bool) -> list[str]:
    found = [*reused_numbers(world, releases)]
    if not damaged:
        found += [*wrong_releases(world), *not_served(world, before), *damaged_records(world)]
    return found


def at_rest(world: World) -> list[str]:
    """What the shipped `verify` finds, and what it cannot."""
    machine = world.opened()
    said = [f"verify: {one.code} {one.where} {one.message}" for one in verify(machine)]
    return [*said, *wrong_releases(world), *_left_over(world)]


def _left_over(world: World) -> Iterator[str]:
    for path in world.root.rglob("*"):
        if "quarantine" in path.parts:  # whatever it is, somebody else put it there
            continue
        if path.name.endswith((".tmp", ".lock")) or path.parent.name in ("staging", "trash"):
            yield f"left over: {path.relative_to(world.root)}"


def snapshot(world: World) -> dict[str, Any]:
    """The whole tree but for times, and for numbers: a crash may burn one."""
    found: dict[str, Any] = {}
    for path in sorted(world.root.rglob("*")):
        name = path.relative_to(world.root).as_posix()
        if path.is_file() and _is_compared(name):
            found[_steady(name)] = _content(path)
    found["index"] = sorted(json.dumps(_plain(one), sort_keys=True) for one in listed(world).values())
    return found


def _is_compared(name: str) -> bool:
    first, last = name.split("/", maxsplit=1)[0], name.rsplit("/", maxsplit=1)[-1]
    held = first not in ("logs", "quarantine") and not last.startswith(LEFT_ALONE)
    return held and ".damaged-" not in name and first != "mirror.git"


def _steady(name: str) -> str:
    return re.sub(r"^(served/[^/]+)/\d+/", r"\1/N/", name)


def _content(path: Path) -> Any:
    data = path.read_bytes()
    if path.name == "owner":
        return len(data)
    if path.name in ("release.json", "conditions.json", "failures.json", "machine.json") or {"variants", "history"} & {
        *path.parts
    }:
        return json.dumps(_plain(_read(data)), sort_keys=True)
    if path.name == "inference_model.json":  # it names the id
        return re.sub(rb'("Version": |:)"?\d+', rb"\1N", data).decode()
    return hashlib.sha256(data).hexdigest()


def _read(data: bytes) -> Any:
    try:
        return unseal(data)
    except Damaged:
        return "damaged"


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and value.get("path") == "inference_model.json":
        return "the id"
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key not in TIMES | NUMBERED and key not in UNSTEADY}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        value = re.sub(r"\b[0-9a-f]{32}\b", "OWNER", value)  # another root draws another mark
        return re.sub(r"(-int\d)[:/]\d+", r"\1:N", value)
    return value
