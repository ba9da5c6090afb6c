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
    """Bytes of all models below the SDK's folder."""
    return sum(_held(one) for one in _files(folder, 0))


def _held(entry: "os.DirEntry[str]") -> int:
    whole = entry.stat(follow_symlinks=False).st_size
    try:
        with open(entry.path + ENDING, "rb") as file:
            head = file.read(_HEAD.size)
    except FileNotFoundError:
        return whole
    if len(head) < _HEAD.size:
        return 0
    magic, version, size, piece, pieces, _, _, came = _HEAD.unpack(head)
    known = (magic, version) == (_MAGIC, _VERSION) and size == whole and piece > 0 and 0 <= came <= pieces
    return min(came * piece, whole) if known else 0


def _files(folder: str, depth: int) -> Iterator["os.DirEntry[str]"]:
    """Those of models, which lie in folders of their own."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False) and depth < 4:
            yield from _files(entry.path, depth + 1)
        elif depth and entry.is_file(follow_symlinks=False) and not _is_own(entry.name):
            yield entry


def _is_own(name: str) -> bool:
    return name in OWN_FILES or name.endswith((ENDING, f"{ENDING}.tmp"))
