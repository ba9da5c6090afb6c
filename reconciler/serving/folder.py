"""`served/<variant>/<n>/`: the directory that Foundry Local loads. Put one together, and look whether one
is whole.

Weights are shared with the store where the file system can; the small files are written for each release. The
marker comes last, so a folder without one was never finished. Looking costs one listing and a stat per file;
bytes are read only when a stamp is new.
"""

from __future__ import annotations

import os
from dataclasses import asdict

from reconciler.core import digest
from reconciler.core.errors import PermanentError
from reconciler.core.marker import MarkerUnreadable, format_marker, parse_marker
from reconciler.core.observed import ServedFolder
from reconciler.core.release import Marker, StoredFile
from reconciler.core.served_files import MARKER, kept_files, written_files
from reconciler.host import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.core.release import Artifact, Release
    from reconciler.host.stamps import StampBook

READ_ONLY = 0o444


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
    """Fill an empty staging folder with everything this release serves. `blob` tells where a digest's
    bytes lie."""
    kept = kept_files(artifact)
    written = written_files(
        release,
        number,
        _content(artifact, "genai_config.json", blob) or b"",
        _content(artifact, "tokenizer_config.json", blob),
    )
    for file in kept:
        _place(file, directory, blob, stamps)
    marker = Marker(
        owner=owner,
        variant=release.variant,
        number=number,
        release=release.digest,
        parts=release.parts,
        artifact=artifact.digest,
        build_key=artifact.build_key,
        recipe=release.recipe.as_json(),
        model=release.model,
        precision=release.precision,
        template_origin=release.template_origin,
        generation=asdict(release.generation),
        protected=protected,
        revision=revision,
        created=created,
        files=tuple(sorted((*kept, *map(_stored, written.items())), key=lambda file: file.path)),
    )
    for name, data in (*written.items(), (MARKER, format_marker(marker))):
        _write(os.path.join(directory, name), data, stamps)
    return marker


def inspect(path: str, stamps: StampBook) -> ServedFolder:
    """What is wrong with one served folder, if anything. Reads only."""
    variant, number = os.path.split(path)
    variant = os.path.basename(variant)
    files = dict(_regular_files(path))
    marker = _read_marker(path) if MARKER in files else None
    if marker is None or marker.id != f"{variant}:{number}":
        state = "missing" if MARKER not in files else "unreadable" if marker is None else "of another release"
        return ServedFolder(
            path=path, variant=variant, number=int(number), marker=None, damage=(f"{MARKER} {state}",)
        )
    del files[MARKER]
    damage = tuple(_damage(path, marker, files, stamps))
    return ServedFolder(path=path, variant=variant, number=marker.number, marker=marker, damage=damage)


def _damage(path: str, marker: Marker, files: dict[str, bool], stamps: StampBook) -> Iterator[str]:
    for file in marker.files:
        is_regular = files.pop(file.path, None)
        if is_regular is None:
            yield f"{file.path} missing"
        elif not is_regular or _has_changed(os.path.join(path, file.path), file, stamps):
            yield f"{file.path} changed"
    for name in sorted(files):
        yield f"{name} foreign"


def _has_changed(path: str, file: StoredFile, stamps: StampBook) -> bool:
    try:
        known = stamps.known(path)
        if known is None and os.path.getsize(path) == file.size:
            known = stamps.digest(path)
    except OSError:  # unreadable is as bad as gone
        return True
    return known != file.digest


def _regular_files(folder: str, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Every entry below a folder and whether it is a regular file. A link is not: it could lead anywhere."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _regular_files(entry.path, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry.is_file(follow_symlinks=False)


def _read_marker(path: str) -> Marker | None:
    try:
        with open(os.path.join(path, MARKER), "rb") as file:
            return parse_marker(file.read())
    except (OSError, MarkerUnreadable):
        return None


def _content(artifact: Artifact, name: str, blob: Callable[[str], str]) -> bytes | None:
    file = next((file for file in artifact.files if file.path == name), None)
    if file is None:
        return None
    with open(blob(file.digest), "rb") as content:
        data = content.read()
    _require(digest.of_bytes(data), file)
    return data


def _place(file: StoredFile, directory: str, blob: Callable[[str], str], stamps: StampBook) -> None:
    destination = os.path.join(directory, file.path)
    durable.make_folder(os.path.dirname(destination))
    _require(stamps.relink(blob(file.digest), destination), file)


def _require(found: str, file: StoredFile) -> None:
    if found != file.digest:
        raise PermanentError(f"the store's copy of {file.path} has changed", code="ArtifactDamaged")


def _stored(entry: tuple[str, bytes]) -> StoredFile:
    name, data = entry
    return StoredFile(path=name, digest=digest.of_bytes(data), size=len(data))


def _write(path: str, data: bytes, stamps: StampBook) -> None:
    durable.write_file(path, data, READ_ONLY)
    stamps.vouch(path, digest.of_bytes(data))
