"""What belongs to a root: what carries its mark, and paths below it that no link leads out of.

The mark, 32 random hex digits, is put on all that the root creates; what does not carry it is never deleted. It is
written once. If it is lost, everything served so far has no owner and stays where it is; so an unreadable mark is an
error for a person, not a reason for a new one.
"""

import os
import re
import stat

from reconciler.domain.errors import PermanentError
from reconciler.domain.layout import Layout
from reconciler.host import durable

MARK = re.compile(r"[0-9a-f]{32}\n?")
HINT = "write back the `owner` that is named in release.json of any folder below served/"


def read_owner(layout: Layout) -> str:
    """The mark, or "" when nothing was ever created here."""
    try:
        with open(layout.owner, encoding="ascii", errors="replace") as file:
            mark = file.read(100)
    except FileNotFoundError:
        return ""
    if not MARK.fullmatch(mark):  # guard: an owner mark is never replaced
        raise PermanentError(f"{layout.owner} does not hold an owner mark", hint=HINT, code="OwnerUnreadable")
    return mark.strip()


def make_owner(layout: Layout) -> str:
    """The mark, drawn now if there is none. Only for the holder of the lock."""
    mark = read_owner(layout)
    if not mark:
        mark = os.urandom(16).hex()
        durable.make_folder(layout.root)
        durable.write_file(layout.owner, mark.encode() + b"\n")
    return mark


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


def is_folder(path: str) -> bool:
    """False for a symbolic link."""
    return os.path.isdir(path) and not os.path.islink(path)
