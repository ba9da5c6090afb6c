"""Paths below a root that really are below it: no link on the way, so that nothing of anybody else's can be reached."""

import os
import stat

from reconciler.host import durable


def is_plain(root: str, path: str) -> bool:
    """Whether every component between `root` and `path` is a real folder (or is not there)."""
    return all(_is_folder_or_absent(one) for one in _components(root, path))


def make_plain(root: str, path: str, quarantine: str) -> None:
    """Move whatever stands in the way of a real folder at `path` aside, by its own name: a link is moved, never
    followed."""
    for one in _components(root, path):
        if not _is_folder_or_absent(one):
            durable.make_folder(quarantine)
            durable.rename(one, os.path.join(quarantine, f"{os.path.basename(one)}-{os.urandom(4).hex()}"))
            return  # nothing below it is ours any more


def _components(root: str, path: str) -> list[str]:
    below, found = os.path.relpath(path, root).split(os.sep), list[str]()
    if os.pardir in below:
        raise ValueError(f"{path} is not below {root}")
    for name in below:
        found.append(os.path.join(found[-1] if found else root, name))
    return found


def _is_folder_or_absent(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return True
