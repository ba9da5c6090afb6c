"""`reconciler lock`: ask the hub for the files of each declared commit, and pin each file by its sha256.

A commit never changes, so locked sources are not asked for again. The hub has the sha256 of its large files; small
files are downloaded here and hashed.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from reconciler.domain.errors import PermanentError, ReconcilerError
from reconciler.domain.manifest import Model
from reconciler.domain.sources.hub import LOCK_BYTES, LOCK_NAME, HubSource, LockedFile, is_included
from reconciler.domain.text.quoting import shown
from reconciler.manifests import hub_lock
from reconciler.manifests.hub_lock import Entries
from reconciler.sources.protocol import RemoteSource

# The hub keeps files without a sha256 in git, which takes at most 10 MB of each.
MAX_UNHASHED = 64 << 20
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """`data` is the new lock file; `added` and `dropped` are the sources that it has more and less than the old one."""

    data: bytes
    entries: Entries
    added: tuple[HubSource, ...]
    dropped: tuple[HubSource, ...]


def declared(models: Iterable[Model]) -> Entries:
    return {model.hub.key: model.hub for model in models if model.hub is not None}


def outdated(models: Iterable[Model], old: Entries) -> tuple[tuple[HubSource, ...], tuple[HubSource, ...]]:
    """(declared and not locked, locked and not declared), without the network."""
    wanted = declared(models)
    missing = tuple(wanted[key] for key in sorted(wanted.keys() - old.keys()))
    return missing, tuple(old[key] for key in sorted(old.keys() - wanted.keys()))


def lock(models: Iterable[Model], old: Entries, hub: RemoteSource, say: Callable[[str], None]) -> Locked:
    """The new lock file. Raises ReconcilerError when the hub refuses; then the old one stays."""
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
    """Read back, because the hub's answer is untrusted and machines must be able to read the file."""
    data = hub_lock.render(entries.values())
    try:
        hub_lock.read(data)
    except hub_lock.LockInvalid as invalid:
        raise PermanentError(f"the hub's answer makes no lock: {invalid}", code="HubIncomplete") from None
    return data


def _upstream(source: HubSource, hub: RemoteSource, say: Callable[[str], None], *, known: bool) -> str:
    """The commit of the default branch. For a locked source, the hub may fail to answer."""
    try:
        return hub.commit(source.repo)
    except ReconcilerError as error:
        if not known:
            raise
        say(f"warning: {error}")
        return source.upstream


def read_lock(folder: str) -> Entries:
    """The entries of the lock file; none where there is no file. Raises LockInvalid."""
    try:
        with open(os.path.join(folder, LOCK_NAME), "rb") as file:
            return hub_lock.read(file.read(LOCK_BYTES + 1))
    except FileNotFoundError:
        return {}


def _pin(source: HubSource, hub: RemoteSource, say: Callable[[str], None]) -> HubSource:
    listed = hub.tree(source)
    chosen = sorted((one for one in listed if is_included(one["path"], source.include)), key=lambda f: f["path"])
    _check(source, chosen, [one["path"] for one in listed])
    say(f"{source}: {len(chosen)} files, {sum(one['size'] for one in chosen):,} bytes")
    with tempfile.TemporaryDirectory(prefix="reconciler-lock-") as folder:
        return replace(source, files=tuple(_file(source, one, hub, folder) for one in chosen))


def _check(source: HubSource, chosen: list[dict[str, Any]], names: list[str]) -> None:
    """Refuse what no machine can convert here, where the user looks, and not after a download."""
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
        if size > MAX_UNHASHED:
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
