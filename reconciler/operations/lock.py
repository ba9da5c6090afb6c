"""What `reconciler lock` does: ask the hub what each declared commit holds, and pin it, file by file.

A commit never changes, so what is locked stays as it is and is not asked for again. The hub knows the sha256 of its
large files; the small ones are downloaded here and hashed. Nothing is believed about a commit but what then is pinned.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from reconciler.domain.errors import PermanentError, ReconcilerError
from reconciler.domain.hub import LOCK_BYTES, LOCK_NAME, HubSource, LockedFile, is_included
from reconciler.domain.manifest import Model
from reconciler.domain.quoting import shown
from reconciler.manifests import hub_lock
from reconciler.manifests.hub_lock import Entries
from reconciler.sources.protocol import RemoteSource

# A file without a sha256 of the hub's own is in git there, which takes none of more than 10 MB.
LARGEST_UNLISTED = 64 << 20
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """`data` is the new file. `added` and `dropped` are the sources that came and went."""

    data: bytes
    entries: Entries
    added: tuple[HubSource, ...]
    dropped: tuple[HubSource, ...]


def declared(models: Iterable[Model]) -> Entries:
    return {model.hub.key: model.hub for model in models if model.hub is not None}


def outdated(models: Iterable[Model], old: Entries) -> tuple[tuple[HubSource, ...], tuple[HubSource, ...]]:
    """(declared and not locked, locked and not declared). Told without the hub."""
    wanted = declared(models)
    missing = tuple(wanted[key] for key in sorted(wanted.keys() - old.keys()))
    return missing, tuple(old[key] for key in sorted(old.keys() - wanted.keys()))


def lock(models: Iterable[Model], old: Entries, hub: RemoteSource, say: Callable[[str], None]) -> Locked:
    """Raises what the hub refuses; then nothing is to be written."""
    wanted = declared(models)
    missing, dropped = outdated(models, old)
    entries: Entries = {}
    upstream: dict[str, str] = {}
    for key in sorted(wanted):
        known = old.get(key)
        source = known or _pin(wanted[key], hub, say)
        if source.repo not in upstream:
            upstream[source.repo] = _upstream(source, hub, say, known=known is not None)
        entries[key] = replace(source, upstream=upstream[source.repo])
    added = tuple(entries[source.key] for source in missing)
    return Locked(data=_rendered(entries), entries=entries, added=added, dropped=dropped)


def _rendered(entries: Entries) -> bytes:
    """Read back: what a hub says of itself may be anything, and a lock that no machine reads is none."""
    data = hub_lock.render(entries.values())
    try:
        hub_lock.read(data)
    except hub_lock.LockInvalid as invalid:
        raise PermanentError(f"the hub's answer makes no lock: {invalid}", code="HubIncomplete") from None
    return data


def _upstream(source: HubSource, hub: RemoteSource, say: Callable[[str], None], *, known: bool) -> str:
    """Where the default branch is. What is locked stays locked when the hub does not answer, or has forgotten it."""
    try:
        return hub.commit(source.repo)
    except ReconcilerError as error:
        if not known:
            raise
        say(f"warning: {error}")
        return source.upstream


def read_lock(folder: str) -> Entries:
    """What is locked now; nothing where there is no such file. Raises LockInvalid."""
    try:
        with open(os.path.join(folder, LOCK_NAME), "rb") as file:
            return hub_lock.read(file.read(LOCK_BYTES + 1))
    except FileNotFoundError:
        return {}


def _pin(source: HubSource, hub: RemoteSource, say: Callable[[str], None]) -> HubSource:
    listed = hub.tree(source)
    chosen = sorted(
        (one for one in listed if is_included(one["path"], source.include)), key=lambda f: f["path"]
    )
    _check(source, chosen, [one["path"] for one in listed])
    say(f"{source}: {len(chosen)} files, {sum(one['size'] for one in chosen):,} bytes")
    with tempfile.TemporaryDirectory(prefix="reconciler-lock-") as folder:
        return replace(source, files=tuple(_file(source, one, hub, folder) for one in chosen))


def _check(source: HubSource, chosen: list[dict[str, Any]], names: list[str]) -> None:
    """What no machine could convert is said here, where somebody looks, and not after a download."""
    found = {one["path"] for one in chosen}
    if not any(name.endswith(".safetensors") for name in found):
        pickled = next((name for name in sorted(names) if name.endswith(_PICKLED)), "")
        held = f"; {shown(pickled)} is a pickle, and reading one can run code" if pickled else ""
        raise PermanentError(
            f"{source} has no weights in safetensors that `include` takes{held}",
            hint="look for a commit or a repository with *.safetensors",
            code="WeightsMissing",
        )
    if "config.json" not in found:
        raise PermanentError(
            f"{source} has no config.json that `include` takes",
            hint="a model folder is what `save_pretrained` writes",
            code="ConfigMissing",
        )
    if len(chosen) > hub_lock.MAX_FILES:
        raise PermanentError(f"{source} has more than {hub_lock.MAX_FILES:,} files", code="TooManyFiles")


def _file(source: HubSource, listed: dict[str, Any], hub: RemoteSource, folder: str) -> LockedFile:
    path, size, sha256 = str(listed["path"]), int(listed["size"]), str(listed["sha256"])
    if not sha256:
        if size > LARGEST_UNLISTED:
            raise PermanentError(f"{source}: the hub names no sha256 of {path}", code="HubIncomplete")
        sha256 = _hashed(source, LockedFile(path=path, size=size, sha256=""), hub, folder)
    return LockedFile(path=path, size=size, sha256=sha256)


def _hashed(source: HubSource, file: LockedFile, hub: RemoteSource, folder: str) -> str:
    target = os.path.join(folder, "file")
    hub.download(source, file, target, lambda count: None)
    with open(target, "rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    os.unlink(target)
    return sha256
