"""How much of a model is there already after a download through Foundry Local's SDK that was cut: it goes on from that,
and tells of it as if it came.

Beside a file that is not whole the SDK keeps a small one that says which of its pieces came (`.dlstate`). Its form is
known by its first bytes, and one of another form counts as nothing.
"""

import os
import struct
from collections.abc import Iterator

ENDING = ".dlstate"
OWN_FILES = ("inference_model.json", "download.tmp", ".download.lock", ".download.progress")  # the SDK's
_MAGIC, _VERSION = b"FLDS", 1
# After these two: bytes of the file, of a piece, how many pieces, two places of its bit map, and how many pieces came.
_HEAD = struct.Struct("<4sBqiiiii")


def held_in(folder: str) -> int:
    """Bytes of all models below the SDK's folder, while nothing writes there. What cannot be read counts as nothing."""
    return sum(count or 0 for count in _counts(folder, 0))


def held_now(folder: str) -> int | None:
    """The same while the SDK writes and deletes there; None where that was in the way of counting."""
    total = 0
    for count in _counts(folder, 0):
        if count is None:
            return None
        total += count
    return total


def _counts(folder: str, depth: int) -> Iterator[int | None]:
    """Of each file of models, which lie in folders of their own; None for what cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [(one, one.is_dir(follow_symlinks=False)) for one in entries]
    except OSError as error:
        if depth or not isinstance(error, FileNotFoundError | NotADirectoryError):
            yield None
        return
    for entry, is_folder in found:
        if is_folder and depth < 4:
            yield from _counts(entry.path, depth + 1)
        elif depth and entry.is_file(follow_symlinks=False) and not _is_own(entry.name):
            yield _held(entry)


def _held(entry: "os.DirEntry[str]") -> int | None:
    try:
        whole = entry.stat(follow_symlinks=False).st_size
        head = _head(entry.path + ENDING)
    except OSError:  # it has gone; or it goes, which Windows calls a matter of permission
        return None
    if head is None:
        return whole
    if len(head) < _HEAD.size:  # it is being written, or was cut off
        return None
    magic, version, size, piece, pieces, _, _, came = _HEAD.unpack(head)
    known = (magic, version) == (_MAGIC, _VERSION) and size == whole and piece > 0 and 0 <= came <= pieces
    return min(came * piece, whole) if known else 0


def _head(path: str) -> bytes | None:
    """None where there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD.size)
    except FileNotFoundError:
        return None


def _is_own(name: str) -> bool:
    return name in OWN_FILES or name.endswith((ENDING, f"{ENDING}.tmp"))
