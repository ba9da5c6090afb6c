"""Finds the folders whose files another process has mapped into memory: a served folder must not be removed while a
runtime has its weights mapped.

Only processes that this user may inspect are seen, and no model that a runtime has copied into memory. macOS gives no
answer.
"""

import os
import sys
from collections.abc import Iterable, Iterator

import psutil

from reconciler.host import process_tree


def mapped_folders(folders: Iterable[str]) -> frozenset[str]:
    """Those of `folders` from which a process maps a file. This process and those it started do not count."""
    ends = {os.path.join(folder, ""): folder for folder in folders}
    found: set[str] = set()
    for text in _maps_of_others():
        found |= {folder for start, folder in ends.items() if start in text}
    return frozenset(found)


def _maps_of_others() -> Iterator[str]:
    ours = {os.getpid(), *process_tree.descendants(os.getpid())}
    for pid in psutil.pids():
        if pid not in ours:
            yield _maps(pid)


def _maps(pid: int) -> str:
    """On Linux not by psutil: it reads `smaps`, for which the kernel counts every page of a mapped model."""
    try:
        if sys.platform.startswith("linux"):
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
        if hasattr(psutil.Process, "memory_maps"):
            return "\n".join(one.path for one in psutil.Process(pid).memory_maps())
    except (OSError, psutil.Error):
        pass
    return ""
