"""How many bytes a folder holds on its disk, and how many its file system has. Files that share their bytes count
once."""

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator

from reconciler.host.system import allocated


def bytes_below(folder: str) -> int:
    """One listing of each folder and one stat of each file: asked for only where there is a quota, or by a person."""
    files = _files_at(os.path.join(folder, ""))  # of a link to a folder too
    return sum({(status.st_dev, status.st_ino): allocated(status) for status in files}.values())


def size_once(paths: Iterable[str]) -> int:
    """Bytes of these regular files; one with several names counts once, and one that is gone not at all."""
    sizes: dict[tuple[int, int], int] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def given_back(groups: Iterable[Iterable[str]]) -> list[int]:
    """Bytes that each group of paths (with all below them) gives back when they go in this order: a file with several
    names counts where the last of them goes, and not at all while another is left elsewhere. Blocks that a file system
    shares between files (reflinks) are counted as if they were not: no system call reports it."""
    names: dict[tuple[int, int], int] = {}
    return [sum(_last(status, names) for path in group for status in _files_at(path)) for group in groups]


def _last(status: os.stat_result, names: dict[tuple[int, int], int]) -> int:
    inode = (status.st_dev, status.st_ino)
    names[inode] = names.get(inode, 0) + 1
    return allocated(status) if names[inode] >= status.st_nlink else 0


def _files_at(path: str) -> Iterator[os.stat_result]:
    """Links are not followed. What cannot be read gives nothing back."""
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            yield status
            return
        with os.scandir(path) as entries:
            for entry in entries:
                yield from _files_at(entry.path)


def disk_total(path: str) -> int:
    """Bytes of the file system that `path` is, or will be, on."""
    return shutil.disk_usage(_existing(path)).total


def disk_free(path: str) -> int:
    """Bytes that this user may still write on the file system that `path` is, or will be, on."""
    return shutil.disk_usage(_existing(path)).free


def _existing(path: str) -> str:
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
