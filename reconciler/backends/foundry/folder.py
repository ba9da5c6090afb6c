"""`served/<variant>/<n>/`, the folder that Foundry Local loads: `assemble` fills one, `inspect` says what is wrong with
one, for a listing and a stat per file.

Weights share their bytes with the store where the file system can. The marker `release.json` says whose the folder is
and what it must hold; it is written last, so a folder without one was never finished. It is sealed with its own digest,
which finds damage, not forgery.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

from reconciler.backends.foundry.served_files import MARKER, kept_files, written_files
from reconciler.domain import digest
from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import Disturbed
from reconciler.domain.layout import is_of_file_manager
from reconciler.domain.manifest import Generation, Target
from reconciler.domain.observed import ServedFolder
from reconciler.domain.release import Artifact, Marker, Recipe, Release
from reconciler.domain.targets.tasks import CHAT
from reconciler.host import durable
from reconciler.host.codec import Codec, Damaged, Misformed, seal, unseal
from reconciler.host.reading import read_whole
from reconciler.host.stamps import StampBook

READ_ONLY = 0o444
FORMAT_VERSION = 1
MARKERS = 1024  # that are remembered, some 10 KB each

_CODEC = Codec(Marker)


class MarkerUnreadable(ValueError):
    """The data is no marker of a known version. Its folder is then repaired, not guessed at."""


def marker_to_json(marker: Marker) -> dict[str, Any]:
    return {"formatVersion": FORMAT_VERSION, **_CODEC.write(marker)}


def marker_from_json(document: object) -> Marker:
    version = document.get("formatVersion") if isinstance(document, dict) else None
    if not isinstance(document, dict) or version != FORMAT_VERSION:
        raise MarkerUnreadable(f"format version {version!r} is not known here")
    try:
        return _CODEC.read({name: held for name, held in document.items() if name != "formatVersion"})
    except Misformed as error:
        raise MarkerUnreadable(f"not a marker: {error}") from None


def assemble(  # noqa: PLR0913 - the marker records each of them
    directory: str,
    release: Release,
    artifact: Artifact,
    blob: Callable[[str], str],
    stamps: StampBook,
    *,
    owner: str,
    number: int,
    revision: str,
    created: str,
    protected: bool,
) -> Marker:
    """As `Backend.assemble`. `blob` gives the path of a digest's bytes."""
    kept = kept_files(artifact, release.recipe.target.execution_provider)
    written = written_files(
        release,
        number,
        _content(artifact, "genai_config.json", blob) or b"",
        _content(artifact, "tokenizer_config.json", blob),
    )
    for file in kept:
        destination = os.path.join(directory, file.path)
        durable.make_folder(os.path.dirname(destination))
        _require(stamps.relink(blob(file.digest), destination), file)
    small = [StoredFile(path=name, digest=digest.of_bytes(data), size=len(data)) for name, data in written.items()]
    marker = Marker.of(
        release,
        owner=owner,
        number=number,
        artifact=artifact.digest,
        protected=protected,
        revision=revision,
        created=created,
        files=tuple(sorted((*kept, *small), key=lambda file: file.path)),
    )
    for name, data in (*written.items(), (MARKER, seal(marker_to_json(marker)))):
        path = os.path.join(directory, name)
        with durable.staged_file(path, READ_ONLY) as staged:
            staged.write(data)
        stamps.vouch(path, digest.of_bytes(data))
    return marker


def rewrite_marker(path: str, marker: Marker, stamps: StampBook, staging: str) -> None:
    """As `Backend.rewrite_marker`; the files that it lists must not change. Half a marker would be a foreign
    file, so it is written elsewhere."""
    data = seal(marker_to_json(marker))
    durable.make_folder(staging)
    # order: a marker is written elsewhere, then put in its place
    durable.write_file(os.path.join(path, MARKER), data, READ_ONLY, staging=staging)
    stamps.vouch(os.path.join(path, MARKER), digest.of_bytes(data))


def inspect(path: str, stamps: StampBook) -> ServedFolder:
    variant, number = path.split(os.sep)[-2:]
    found_folder = partial(ServedFolder, path=path, variant=variant, number=int(number))
    try:
        found = dict(_files(path))
    except FileNotFoundError:
        raise
    except OSError as error:  # one folder on a bad sector harms only itself
        return found_folder(marker=None, damage=(f"unreadable: {error.strerror}",))
    marker = _read_marker(found.pop(MARKER, None))
    if isinstance(marker, Marker) and marker.id == f"{variant}:{number}":
        return found_folder(marker=marker, damage=tuple(_damage(marker, found, stamps)))
    state = marker if isinstance(marker, str) else "of another release"
    return found_folder(marker=None, damage=(f"{MARKER} {state}",))


def release_in(folder: str, marker: Marker) -> Release | None:
    """As `Backend.release_in`: nothing is made up."""
    with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
        template = _template_in(folder) if marker.task == CHAT else ""
        with open(os.path.join(folder, "inference_model.json"), encoding="utf-8") as file:
            roles = json.load(file)["PromptTemplate"]
        recipe = dict(marker.recipe)
        recipe["target"] = Target(**recipe["target"])  # type: ignore[arg-type]
        release = Release(
            variant=marker.variant,
            model=marker.model,
            precision=marker.precision,
            recipe=Recipe(**recipe),  # type: ignore[arg-type]
            template=template,
            template_origin=marker.template_origin,
            roles=roles,
            generation=Generation(**marker.generation),  # type: ignore[arg-type]
            task=marker.task,
        )
        return release if release.digest == marker.release else None
    return None


def _template_in(folder: str) -> str:
    with open(os.path.join(folder, "chat_template.jinja"), encoding="utf-8", newline="") as file:
        return file.read()


def _files(folder: str, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All files below a folder. Links are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and os.access(entry.path, os.R_OK | os.X_OK):
                yield from _files(entry.path, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry


def _read_marker(entry: os.DirEntry[str] | None) -> Marker | str:
    """The marker, or why there is none."""
    if entry is None:
        return "missing"
    try:
        return _unsealed(read_whole(entry.path))
    except (OSError, Damaged, MarkerUnreadable):
        return "unreadable"


@lru_cache(MARKERS)
def _unsealed(data: bytes) -> Marker:
    """The same bytes are read in each pass of a daemon."""
    return marker_from_json(unseal(data))


def _damage(marker: Marker, found: dict[str, os.DirEntry[str]], stamps: StampBook) -> Iterator[str]:
    for file in marker.files:
        entry = found.pop(file.path, None)
        if entry is None:
            yield f"{file.path} missing"
        elif not entry.is_file(follow_symlinks=False) or _has_changed(entry, file, stamps):
            yield f"{file.path} changed"
    for name, entry in sorted(found.items()):
        # guard: what a file manager writes is no damage
        if not (is_of_file_manager(entry.name) and entry.is_file(follow_symlinks=False)):
            yield f"{name} foreign"


def _has_changed(entry: os.DirEntry[str], file: StoredFile, stamps: StampBook) -> bool:
    try:
        known = stamps.known(entry.path)
        if known is None and entry.stat().st_size == file.size:
            known = stamps.digest(entry.path)
    except OSError:  # unreadable is as bad as gone
        return True
    return known != file.digest


def _content(artifact: Artifact, name: str, blob: Callable[[str], str]) -> bytes | None:
    file = next((file for file in artifact.files if file.path == name), None)
    if file is None:
        return None
    with open(blob(file.digest), "rb") as content:
        data = content.read()
    _require(digest.of_bytes(data), file)
    return data


def _require(found: str, file: StoredFile) -> None:
    if found != file.digest:
        raise Disturbed(f"the store's copy of {file.path} has changed", code="ArtifactDamaged")
