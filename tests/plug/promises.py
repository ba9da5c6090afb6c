"""What holds in every state that a power cut may leave, before anybody has mended anything. Judged from the bytes, with
nothing of the program's own but how a document is sealed.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from reconciler.backends.foundry.index import INDEX
from reconciler.host.codec import Damaged, unseal
from tests.plug.disk import Tree, is_hidden
from tests.plug.recording import Tape

CATALOG = f"cache/{INDEX}"
READABLE = 0o444

_understood: dict[tuple[Callable[[bytes], Any], str], Any] = {}


class Look:
    """One state: its files by path, and what the catalog lists."""

    def __init__(self, tape: Tape, tree: Tree, top: str) -> None:
        self.tape, self.tree = tape, tree
        self._root = f"{top}/"
        self.below: dict[str, dict[str, str]] = {}  # by published folder: path -> content
        for path, (kind, content, _) in tree.items():
            parts = path.split("/")
            if kind == "file" and len(parts) > 4 and parts[1] in ("served", "sources"):
                self.below.setdefault("/".join(parts[:4]), {})["/".join(parts[4:])] = content
            if kind == "file" and len(parts) == 4 and parts[1] == "sources":
                self.below.setdefault("/".join(parts[:3]), {})[parts[3]] = content
        self.listed = self._listed()

    def _listed(self) -> dict[str, tuple[str, dict[str, str]]] | None:
        """id -> (folder, properties); None for a catalog that cannot be read."""
        if CATALOG not in self.tree:
            marks = (mark for _, mark in self.copies() if mark is not None)
            return {mark["id"]: (mark["path"].removeprefix(self._root), mark["properties"]) for mark in marks}
        document = self.json(CATALOG)
        if document is None:
            return None
        return {
            one["model_info"]["id"]: (one["model_path"].removeprefix(self._root), one["model_info"]["stringProperties"])
            for one in document["models"]
        }

    def copies(self) -> Iterator[tuple[str, Any]]:
        """What Foundry Local 0.5 to 1.x would show of ours, with its mark; None for one that cannot be read."""
        for path in self.tree:
            folder, _, name = path.rpartition("/")
            is_named = folder.startswith("cache/reconciler/") and name == "inference_model.json"
            if is_named and f"{folder}/genai_config.json" in self.tree:
                yield folder, self.sealed(f"{folder}/reconciler.json")

    def data(self, path: str) -> bytes | None:
        held = self.tree.get(path)
        return self.tape.contents[held[1]] if held is not None and held[0] == "file" else None

    def json(self, path: str) -> Any:
        return self._parsed(path, json.loads)

    def sealed(self, path: str) -> Any:
        return self._parsed(path, unseal)

    def _parsed(self, path: str, parse: Callable[[bytes], Any]) -> Any:
        """None for what is not there, or torn. The same bytes are parsed once."""
        held = self.tree.get(path)
        if held is None or held[0] != "file":
            return None
        key = parse, held[1]
        if key not in _understood:
            try:
                _understood[key] = parse(self.tape.contents[held[1]])
            except (ValueError, Damaged):
                _understood[key] = None
        return _understood[key]

    def records(self) -> Iterator[str]:
        for path in self.tree:
            sealed = path.startswith("root/records/") and path.endswith(".json") and "/." not in path
            if sealed:
                yield path

    def variants(self) -> dict[str, dict[str, Any]]:
        """The records of variants that can be believed."""
        found = {}
        for path in self.records():
            if path.startswith("root/records/variants/") and (body := self.sealed(path)) is not None:
                found[path.rpartition("/")[2].removesuffix(".json")] = body
        return found


def wrong_releases(look: Look) -> Iterator[str]:
    """I1: a name visible to Foundry Local resolves to a complete release whose file digests match."""
    for identity, (folder, properties) in (look.listed or {}).items():
        if "reconciler_release" not in properties:
            continue
        marker = look.sealed(f"{folder}/release.json")
        if marker is None:
            yield f"{identity}: no marker"
            continue
        if marker["release"] != properties["reconciler_release"]:
            yield f"{identity}: another release lies there"
        found = dict(look.below.get(folder, {}))
        found.pop("release.json")
        promised = {file["path"]: file["digest"].removeprefix("sha256:") for file in marker["files"]}
        for name in sorted(promised.keys() | found.keys()):
            if promised.get(name) != found.get(name):
                yield f"{identity}: {name} is {found.get(name)}, promised is {promised.get(name)}"
            elif look.tree[f"{folder}/{name}"][2] & READABLE != READABLE:
                yield f"{identity}: {name} can be read by its owner only"


def wrong_copies(look: Look) -> Iterator[str]:
    """I1, where the runtime serves copies: what it shows is whole, and known to be ours."""
    for folder, mark in look.copies():
        if mark is None:
            yield f"{folder}: no mark"
            continue
        for file in mark["files"]:
            held = look.tree.get(f"{folder}/{file['path']}")
            if held is None or held[1] != file["digest"].removeprefix("sha256:"):
                yield f"{folder}: {file['path']} is {held and held[1]}, promised is {file['digest']}"


def ownerless(look: Look) -> Iterator[str]:
    """I3: what we registered carries the mark of this root, so the mark is there."""
    mark = (look.data("root/owner") or b"").decode("ascii", "replace").strip()
    for identity, (_, properties) in (look.listed or {}).items():
        owner = properties.get("reconciler_owner")
        if owner and owner != mark:
            yield f"{identity}: is {owner}'s, and the root's mark is {mark!r}"


def damaged_records(look: Look) -> Iterator[str]:
    """I10: each record is the old one or the new one."""
    for path in look.records():
        if look.sealed(path) is None:
            yield f"{path}: is damaged"


def unbacked_records(look: Look, pruned: set[str]) -> Iterator[str]:
    """I10: a release that is recorded is registered. A record outlives what is being pruned, and goes last."""
    if look.listed is None:
        return
    for variant, record in look.variants().items():
        release = record["release"]
        if release is None or variant in pruned:
            continue
        _, properties = look.listed.get(f"{variant}:{release['number']}", ("", {}))
        if properties.get("reconciler_release") != release["release"]:
            yield f"{variant}: {release['number']} is recorded, and not registered"


def forgotten_releases(look: Look, known: set[str]) -> Iterator[str]:
    """I10: what is registered stays recorded until it is gone. `known` are the variants that were recorded before."""
    listed = {identity.rpartition(":")[0] for identity in look.listed or {}}
    for variant, record in look.variants().items():
        if variant in known & listed and record["release"] is None:
            yield f"{variant}: is registered, and not recorded any more"


def wrong_history(look: Look, pruned: set[str]) -> Iterator[str]:
    """I10: what the history knows to serve is registered, and what it knows to be gone is not."""
    for path in look.records():
        variant = path.rpartition("/")[2].removesuffix(".json")
        if look.listed is None or not path.startswith("root/records/history/"):
            continue
        for past in (look.sealed(path) or {"releases": ()})["releases"]:
            identity, listed = f"{variant}:{past['number']}", f"{variant}:{past['number']}" in look.listed
            serves = past["number"] and past["outcome"] == "served" and not past["superseded"]
            if serves and not listed and variant not in pruned:
                yield f"{identity}: serves by its history, and is not registered"
            if past["retired"] and listed:
                yield f"{identity}: was retired by its history, and is registered"


def unbacked_store(look: Look) -> Iterator[str]:
    """I10: what the store's index names is there, whole."""
    if "root/oci/index.json" not in look.tree:
        return
    document = look.json("root/oci/index.json")
    if document is None:
        yield "the store's index is damaged"
        return
    for entry in document["manifests"]:
        yield from _blob(look, entry["digest"])
        manifest = look.json(_path(entry["digest"]))
        for part in (*manifest["layers"], manifest["config"]) if manifest else ():
            yield from _blob(look, part["digest"])


def _blob(look: Look, digest: str) -> Iterator[str]:
    held = look.tree.get(_path(digest))
    if held is None or held[1] != digest.removeprefix("sha256:"):
        yield f"the store names {digest[:15]}, which is {'gone' if held is None else 'torn'}"


def _path(digest: str) -> str:
    return f"root/oci/blobs/sha256/{digest.removeprefix('sha256:')}"


def lying_stamps(look: Look, torn: dict[str, str]) -> Iterator[str]:
    """A file whose size and times came through and whose bytes did not is believed by its stamp. `torn` are those, by
    their inode's number and the content that is lost: see `states.torn_files`."""
    for stamp, (digest, _) in (look.sealed("root/records/stamps.json") or {}).items():
        inode, content = look.tape.stamps.get(stamp, (0, ""))
        path = torn.get(f"{inode} {content}")
        if path is not None and not is_hidden(path) and digest == f"sha256:{content}":
            yield f"{path}: its stamp vouches for bytes that are lost"


def torn_sources(look: Look, whole: dict[str, dict[str, str]]) -> Iterator[str]:
    """A folder of a source that has its name is whole, and one from the hub has been looked at."""
    for folder, files in look.below.items():
        home, _, name = folder.rpartition("/")
        if folder in whole and files != whole[folder]:
            yield f"{folder}: differs in {sorted(dict(files.items() ^ whole[folder].items()))}"
        if folder in whole and home.endswith("/hub") and look.sealed(f"{home}/facts/{name}.json") is None:
            yield f"{folder}: nobody knows what it holds"


def given_again(look: Look, shown: dict[str, str]) -> Iterator[str]:
    """An id that anybody may have seen is never given to other content. `shown`: id -> release."""
    records, listed = look.variants(), look.listed or {}
    for identity, release in shown.items():
        variant, _, number = identity.rpartition(":")
        still = identity in listed and listed[identity][1].get("reconciler_release") == release
        if not still and int(number) > records.get(variant, {"highWater": 0})["highWater"]:
            yield f"{identity}: was seen, and can be given to something else"


def not_served(look: Look, wanted: set[str]) -> Iterator[str]:
    """I2: what was served and is still wanted has a release at any time."""
    if look.listed is not None:
        for variant in sorted(wanted - {identity.rpartition(":")[0] for identity in look.listed}):
            yield f"{variant}: nothing serves it any more"


def forgotten_commits(look: Look, accepted: str, objects: dict[str, str]) -> Iterator[str]:
    """I10: a commit that the records say was accepted has its objects in the mirror."""
    machine = look.sealed("root/records/machine.json") or {"accepted": ()}
    if accepted and accepted in [one["commit"] for one in machine["accepted"]]:
        for path, content in objects.items():
            if look.tree.get(path, ("", ""))[1] != content:
                yield f"{accepted[:12]} is accepted, and {path} is lost"
