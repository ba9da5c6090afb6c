"""Folders in the cache of Foundry Local 0.5 to 1.x: `<cache>/reconciler/<variant>-<n>/`, a copy of a served folder.

That runtime has no register: it searches its cache, and what it finds in a folder with `genai_config.json` and
`inference_model.json` is a model of that name. So a folder is assembled beside the cache and renamed into it whole, and
renamed out of it before it is removed. Weights share their bytes with the served folder where the file system can.
`reconciler.json` is our mark: a folder without it, or elsewhere, is another's, and so is what others put into ours.
"""

import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from reconciler.backends.foundry.index import LARGEST_NUMBER
from reconciler.backends.foundry.served_files import MARKER
from reconciler.domain import digest
from reconciler.domain.errors import CatalogBroken, PermanentError
from reconciler.domain.layout import is_of_file_manager
from reconciler.domain.observed import Registration
from reconciler.domain.text.escape import one_line
from reconciler.host import durable
from reconciler.host.codec import Codec, Damaged, Misformed, seal, unseal
from reconciler.host.reading import read_whole
from reconciler.host.stamps import StampBook, stamp_of

PUBLISHER = "reconciler"  # the folder of all that is ours, as Foundry's own models lie below their publisher's name
MARK = "reconciler.json"
NAME = "inference_model.json"
CONFIG = "genai_config.json"
UNFINISHED = "download.tmp"  # the runtime's own sign in a folder that it has not filled yet
SNAPSHOT = "foundry.modelinfo.json"  # the runtime's copy of its public catalog
DEEPEST = 6  # folders below the cache; the runtime itself knows no limit
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class DroppedFile:
    """`stamp` is what the file system said of it when it was written (host.stamps). No digest: it is a link."""

    path: str
    digest: str
    stamp: str


@dataclass(frozen=True, kw_only=True)
class DropMark:
    """Whose the folder is and what it must hold. `path` is the served folder that it is a copy of."""

    id: str
    path: str
    properties: dict[str, str]
    files: tuple[DroppedFile, ...]


_CODEC = Codec(DropMark)
Share = Callable[[str, str], str]  # gives the second path the bytes of the first; returns their digest


def place_of(cache: str, identity: str) -> str:
    name, _, number = identity.rpartition(":")
    return os.path.join(cache, PUBLISHER, f"{name}-{number}")


def found_in(cache: str, *, every_byte: bool = False) -> tuple[Registration, ...]:
    """All models that the runtime would find, ours first; with `every_byte` ours are read, whatever their stamps say.
    Raises CatalogBroken where the cache cannot be read."""
    try:
        ours = tuple(_ours(cache, every_byte=every_byte))
        others = tuple(_others(cache, {place_of(cache, one.id) for one in ours}))
    except OSError as error:
        hint = "let this user read it, or name another cache: nothing is changed until then"
        raise CatalogBroken(f"{cache}: the cache cannot be read ({error.strerror})", hint=hint) from None
    named = {one.id for one in ours}
    return ours + tuple({one.id: one for one in others if one.id not in named}.values())


def drop(source: str, identity: str, properties: Mapping[str, str], cache: str, beside: str, share: Share) -> None:
    """Put a copy of a served folder into the cache, whole. One of ours that is there is mended. `beside` is a folder on
    the cache's disk, outside it. Raises PermanentError where the name or the place is taken."""
    final, mark = place_of(cache, identity), mark_in(cache, identity)
    if mark is not None:
        if (mark.path, mark.properties) != (source, dict(properties)):
            raise PermanentError(f"model_id is already registered: {identity}", code="AlreadyRegistered")
        _mend(mark, final, beside, share)
        return
    _require_free(cache, final, identity)
    staged = os.path.join(beside, uuid.uuid4().hex)
    durable.make_folder(staged)
    files = [_shared(source, staged, name, share) for name in _files_below(source)]
    files.append(_written(staged, NAME, _named(source, identity)))
    _written(staged, MARK, _sealed(identity, source, properties, files))
    durable.publish(staged, final)


def take_away(identity: str, cache: str, beside: str, remove: Callable[[str], None]) -> None:
    """Remove our folder of this name; one that is gone, or not ours, is left as it is. `remove` deletes one file."""
    final, mark = place_of(cache, identity), mark_in(cache, identity)
    if mark is None:
        return
    ours = {file.path for file in mark.files} | {MARK}
    if set(_files_below(final, with_ours=True)) <= ours:  # guard: what others put into our folder stays
        durable.make_folder(beside)
        away = os.path.join(beside, uuid.uuid4().hex)
        durable.rename(final, away)
        durable.free(away, remove)
    else:  # the runtime no longer finds a model once its name is gone, and the mark goes last
        for name in sorted(ours, key=lambda name: (name != NAME, name == MARK)):
            path = os.path.join(final, name)
            if os.path.lexists(path):
                remove(path)


def make_readable_offline(cache: str) -> None:
    """Without its catalog's copy the runtime (1.2.4) lists nothing while it is offline, not even what lies in its
    cache. Where it never made one: one of no models and of 1970, which it makes anew as soon as it can."""
    path = os.path.join(cache, SNAPSHOT)
    if not os.path.lexists(path):
        durable.write_file(path, json.dumps({"version": 1, "savedAtUnix": 0, "models": []}).encode())


def mark_in(cache: str, identity: str) -> DropMark | None:
    """Of our folder of this name."""
    final = place_of(cache, identity)
    if os.path.islink(final) or os.path.islink(os.path.dirname(final)):  # guard: our folders are no links
        return None
    try:
        mark = _read_mark(read_whole(os.path.join(final, MARK)))
    except (OSError, Damaged, Misformed, ValueError):
        return None
    return mark if mark.id == identity else None


@lru_cache(1024)
def _read_mark(data: bytes) -> DropMark:
    """The same bytes are read in each pass of a daemon."""
    document = unseal(data)
    if document.pop("formatVersion", None) != FORMAT_VERSION:
        raise ValueError("a mark of another version")
    return _CODEC.read(document)


def _sealed(identity: str, source: str, properties: Mapping[str, str], files: list[DroppedFile]) -> bytes:
    mark = DropMark(id=identity, path=source, properties=dict(properties), files=tuple(files))
    return seal({"formatVersion": FORMAT_VERSION, **_CODEC.write(mark)})


def _ours(cache: str, *, every_byte: bool) -> Iterator[Registration]:
    folder = os.path.join(cache, PUBLISHER)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        variant, _, number = name.rpartition("-")
        mark = mark_in(cache, f"{variant}:{number}") if number.isdecimal() else None
        if mark is not None:
            damage = tuple(
                f"{text} in the cache" for text in _damage(mark, os.path.join(folder, name), every_byte=every_byte)
            )
            yield Registration(id=mark.id, path=mark.path, properties=mark.properties, damage=damage)


def _others(cache: str, ours: set[str]) -> Iterator[Registration]:
    for folder in _models_below(cache, ours) if os.path.lexists(cache) else ():
        identity = _name_in(folder)
        if identity:
            yield Registration(id=identity, path=folder)


def _models_below(folder: str, ours: set[str], depth: int = 0) -> Iterator[str]:
    """As the runtime searches: links are followed, and there is no model inside a model."""
    try:
        with os.scandir(folder) as entries:
            below = sorted((one for one in entries if one.is_dir()), key=lambda one: one.name)
    except OSError:
        if depth == 0:
            raise
        return  # another's folder that we may not read
    for entry in below:
        if entry.path in ours:
            continue
        if os.path.exists(os.path.join(entry.path, NAME)) and os.path.exists(os.path.join(entry.path, CONFIG)):
            if not os.path.exists(os.path.join(entry.path, UNFINISHED)):
                yield entry.path
        elif depth < DEEPEST:
            yield from _models_below(entry.path, ours, depth + 1)


def _name_in(folder: str) -> str:
    """ "" where the runtime finds no name, or one that cannot be one of ours."""
    try:
        document = json.loads(read_whole(os.path.join(folder, NAME)))
        name = str(next(value for key, value in document.items() if key.casefold() == "name"))
    except (OSError, ValueError, AttributeError, StopIteration, RecursionError):
        return ""
    text, _, number = name.rpartition(":")
    if not text:
        return f"{name}:0" if name else ""
    return name if number.isdecimal() and int(number) <= LARGEST_NUMBER else ""


def _damage(mark: DropMark, folder: str, *, every_byte: bool = False) -> Iterator[str]:
    for file in mark.files:
        path = os.path.join(folder, file.path)
        try:
            status = os.lstat(path)
        except OSError:
            yield f"{file.path} missing"
            continue
        if not file.digest and os.path.exists(path):  # a link, in a cache that is thrown away
            continue
        if not stat.S_ISREG(status.st_mode) or not _is_as_dropped(path, status, file, mark, every_byte):
            yield f"{file.path} changed"


def _is_as_dropped(
    path: str, status: os.stat_result, file: DroppedFile, mark: DropMark, every_byte: bool = False
) -> bool:
    """By its stamp; or because it is the served file itself, whose content is looked at there; or by its bytes."""
    stamp, served = stamp_of(status), os.path.join(mark.path, file.path)
    if every_byte:  # guard: a copy is read, whatever its stamp says
        return _is_same(status, served) or _bytes_of(path) == file.digest
    return stamp == file.stamp or _is_same(status, served) or _hash(path, stamp) == file.digest


def _is_same(status: os.stat_result, other: str) -> bool:
    try:
        return os.path.samestat(status, os.stat(other))
    except OSError:
        return False


@lru_cache(1024)
def _hash(path: str, stamp: str) -> str:
    """Once for each stamp."""
    return _bytes_of(path)


def _bytes_of(path: str) -> str:
    """Their digest; "" where they cannot be read."""
    try:
        return StampBook.empty().digest(path)
    except OSError:
        return ""


def _mend(mark: DropMark, final: str, beside: str, share: Share) -> None:
    """File by file, so that what is whole serves meanwhile."""
    files = {file.path: file for file in mark.files}
    staged = os.path.join(beside, uuid.uuid4().hex)
    durable.make_folder(staged)
    for name in sorted(text.rpartition(" ")[0] for text in _damage(mark, final)):
        path = os.path.join(final, name)
        durable.make_folder(os.path.dirname(path))
        if name == NAME:
            durable.write_file(path, _named(mark.path, mark.id), 0o444, staging=staged)
        else:  # its bytes are flushed: they are those of the served folder, or were copied
            _shared(mark.path, staged, name, share)
            durable.rename(os.path.join(staged, name), path)
        files[name] = DroppedFile(path=name, digest=files[name].digest, stamp=stamp_of(os.stat(path)))
    sealed = _sealed(mark.id, mark.path, mark.properties, [*files.values()])
    durable.write_file(os.path.join(final, MARK), sealed, 0o444, staging=beside)
    durable.free(staged)


def _require_free(cache: str, final: str, identity: str) -> None:
    taken = final if os.path.lexists(final) else ""
    taken = taken or next((one.path for one in found_in(cache) if one.id == identity), "")
    if taken:  # guard: a folder without our mark is another's
        raise PermanentError(
            f"{taken} has the name {identity}, and not our mark",
            code="AlreadyRegistered",
            hint="it is left as it is: move it out of the cache, or give the model another name",
        )


def _shared(source: str, staged: str, name: str, share: Share) -> DroppedFile:
    path = os.path.join(staged, name)
    durable.make_folder(os.path.dirname(path))
    return DroppedFile(path=name, digest=share(os.path.join(source, name), path), stamp=stamp_of(os.stat(path)))


def _named(source: str, identity: str) -> bytes:
    """Nothing but what the runtime itself writes there. The role form is in a served folder only where it means exactly
    what the template says: versions up to 0.8 take it, later ones take the tokenizer's template."""
    document = {"Name": identity, "PromptTemplate": _roles_in(source)}
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _roles_in(source: str) -> Any:
    try:
        return json.loads(read_whole(os.path.join(source, NAME))).get("PromptTemplate")
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError) as error:
        raise PermanentError(f"{source}/{NAME}: {one_line(str(error))}", code="ServedFolderDamaged") from None


def _written(staged: str, name: str, data: bytes) -> DroppedFile:
    path = os.path.join(staged, name)
    with durable.staged_file(path) as file:
        file.write(data)
    return DroppedFile(path=name, digest=digest.of_bytes(data), stamp=stamp_of(os.stat(path)))


def _files_below(folder: str, *, with_ours: bool = False) -> Iterator[str]:
    """Relative to it, with `/`; without what only a served folder, or only a dropped one, holds."""
    for above, below, names in os.walk(folder):
        for name in names + [one for one in below if os.path.islink(os.path.join(above, one))]:
            relative = os.path.relpath(os.path.join(above, name), folder).replace(os.sep, "/")
            if is_of_file_manager(name):
                continue
            if with_ours or relative not in (MARK, NAME, MARKER):
                yield relative
