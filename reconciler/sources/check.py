"""Are the sources what their names promise? Weights from the hub, the mirror, and the model folders that were written
out of it: each is named after its content, so nothing else has to be believed. Offline; reads only.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator

from reconciler.domain.errors import PermanentError, TemporaryError
from reconciler.domain.finding import Finding
from reconciler.domain.layout import Layout, is_of_file_manager
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.host.stamps import StampBook
from reconciler.sources.git.objects import FILE, LINK, Objects
from reconciler.sources.git.runner import GitRunner

LONGEST = 600.0  # seconds for the mirror
FETCH = "`reconciler apply --scrub` fetches it again"
CLONE = "delete mirror.git: the next `reconciler apply --repo` clones it anew"
EXPORT = "delete that folder: the next `reconciler apply --repo` writes it anew"
_HUB, _TREE = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def check_sources(layout: Layout, book: StampBook) -> Iterator[Finding]:
    """`book` gives digests; use one that trusts no stamp."""
    for name in _names(layout.at("sources", "hub"), _HUB):
        folder = layout.at("sources", "hub", name)
        found = _content(folder, book)
        if found != f"sha256:{name}":
            yield Finding(
                "SourceDamaged", f"sources/hub/{name}", "its files are not those that it is named after", FETCH
            )


def _content(folder: str, book: StampBook) -> str:
    """The digest of a source that has exactly these files; "" where one cannot be read."""
    try:
        with os.scandir(folder) as entries:
            files = tuple(
                LockedFile(path=entry.name, size=entry.stat().st_size, sha256=book.digest(entry.path)[7:])
                for entry in entries
                if not is_of_file_manager(entry.name)  # and no locked file has such a name
            )
    except OSError:
        return ""
    return LockedSource(repo="", revision="", files=files).digest


def check_mirror(layout: Layout) -> Iterator[Finding]:
    """With git's own check, in the environment that we fetch in; and the exports by what it holds."""
    if not os.path.isfile(os.path.join(layout.at("mirror.git"), "HEAD")):
        return
    git = GitRunner(layout.at("mirror.git"))
    try:
        code, _ = git.run("fsck", "--no-dangling", "--no-progress", ok=tuple(range(256)), seconds=LONGEST)
    except (PermanentError, TemporaryError) as error:
        yield Finding("MirrorDamaged", "mirror.git", f"could not be checked: {error}", error.hint)
        return
    if code:
        yield Finding("MirrorDamaged", "mirror.git", f"git fsck ends with {code}", CLONE)
        return
    with Objects(git, complete=False) as objects:
        for name in _names(layout.at("sources"), _TREE):
            damage = _export(layout.at("sources", name), name, objects)
            if damage:
                yield Finding("ExportDamaged", f"sources/{name}", damage, EXPORT)


def _export(folder: str, tree: str, objects: Objects) -> str:
    """What is wrong with it. One whose tree the mirror does not hold any more is used by nothing, and freed in time."""
    if not objects.sizes([tree]):
        return ""
    wanted = {one.name: one.object for one in objects.children(tree).values() if one.kind in (FILE, LINK)}
    held = {
        entry.name: _blob(entry.path)
        for entry in os.scandir(folder)
        if entry.name in wanted or not is_of_file_manager(entry.name)
    }
    wrong = sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name))
    return f"{wrong[0]} is not that of the tree that it is named after" if wrong else ""


def _blob(path: str) -> str:
    """The name that git gives to these bytes."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return ""
        with open(path, "rb") as file:
            head = b"blob %d\0" % status.st_size
            return hashlib.file_digest(file, lambda: hashlib.sha1(head, usedforsecurity=False)).hexdigest()
    except OSError:
        return ""


def _names(folder: str, form: re.Pattern[str]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(one.name for one in entries if form.fullmatch(one.name) and one.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
