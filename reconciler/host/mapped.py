"""Whose memory holds files of a folder: read from /proc on Linux, of the processes that this user may look at.
Elsewhere nobody tells, and nothing is known to be in use.

A model that a runtime has copied into its memory is not seen here; ONNX Runtime maps external data, which is where the
weights are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

PROC = "/proc"


def mapped_folders(folders: Iterable[str]) -> frozenset[str]:
    """Those of `folders` from which a process maps a file. Ourselves and what we started do not count."""
    ends = {os.path.join(folder, ""): folder for folder in folders}
    found: set[str] = set()
    for pid in _others():
        text = _maps(pid)
        found |= {folder for start, folder in ends.items() if start in text}
    return frozenset(found)


def _others() -> Iterator[str]:
    with contextlib.suppress(OSError):
        ours = {str(os.getpid())}
        for name in sorted(filter(str.isdigit, os.listdir(PROC)), key=int):
            with contextlib.suppress(OSError, ValueError):  # it has just ended
                if _parent(name) in ours:
                    ours.add(name)
                elif name not in ours:
                    yield name


def _parent(pid: str) -> str:
    with open(f"{PROC}/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[1]


def _maps(pid: str) -> str:
    try:
        with open(f"{PROC}/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
