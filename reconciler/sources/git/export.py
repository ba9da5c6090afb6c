"""Model folders that are kept in git, as plain files: Olive reads files. One folder per tree, named after its sha1, so
it is written once, at once, and never changed; only the files directly in it, because a model folder has no others.

A name from a foreign tree becomes a name on this disk, so it is checked here even though git's own check came first.
"""

import contextlib
import os
import shutil

from reconciler.domain.errors import HostRefused, InputRefused
from reconciler.domain.layout import is_of_file_manager
from reconciler.domain.sources.locked import is_device
from reconciler.domain.text.quoting import shown
from reconciler.host import durable
from reconciler.sources.git.objects import FILE, FOLDER, LINK, REPOSITORY, Entry, MirrorBroken, Tree

MOST_FILES = 1000
LARGEST_FOLDER = 32 << 30  # bytes
LONGEST_WRITE = 3600.0  # seconds for one file
LAST_USED = "last-used"  # the file that names what the last read without a failure of ours asked for


class Exports:
    """`folder` is where they are put; the caller holds the mirror's lock."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.used: set[str] = set()

    def export(self, tree: Tree, source: Entry) -> str:
        """The folder on disk. Raises InputRefused for a tree that has no business there."""
        final = os.path.join(self.folder, source.object)
        self.used.add(source.object)
        files = _checked(tree.children(source))
        if _holds(final, files):
            return final
        staged = os.path.join(self.folder, "staging", source.object)
        durable.make_folder(staged)
        for file in files:
            _write(tree, file, os.path.join(staged, file.name))
        if os.path.lexists(final):  # it was changed
            durable.free(durable.unname(final, os.path.join(self.folder, "trash")))
        durable.publish(staged, final)
        return final

    def sweep(self) -> None:
        """Leftovers of a killed export."""
        for name in ("staging", "trash"):
            folder = os.path.join(self.folder, name)
            if os.path.isdir(folder):
                durable.empty(folder)

    def forget_others(self, *, failed: bool) -> None:
        """Free what the last read did not ask for; nothing behind a link, which may be another's. Where we `failed` in
        it, a document that we could not read may need what the last read without failure asked for: that stays."""
        if os.path.islink(self.folder) or not os.path.isdir(self.folder):
            return
        before, kept = self._last_used(), set(self.used)
        if failed:  # guard: what we failed to read frees nothing
            if before is None:
                return
            kept |= before
        elif before != kept:
            self._remember()
        for name in os.listdir(self.folder):
            if len(name) == 40 and name not in kept:
                durable.free(durable.unname(os.path.join(self.folder, name), os.path.join(self.folder, "trash")))

    def _last_used(self) -> set[str] | None:
        """None where that was never noted, or cannot be read."""
        try:
            with open(os.path.join(self.folder, LAST_USED), encoding="ascii") as file:
                return {*file.read().split()}
        except (OSError, ValueError):
            return None

    def _remember(self) -> None:
        """A disk that takes no note still frees: what a failure then frees too early is written anew."""
        staging = os.path.join(self.folder, "staging")
        with contextlib.suppress(HostRefused, OSError):
            durable.make_folder(staging)
            data = "".join(f"{name}\n" for name in sorted(self.used)).encode()
            durable.write_file(os.path.join(self.folder, LAST_USED), data, staging=staging)


def _write(tree: Tree, file: Entry, path: str) -> None:
    """In pieces, because weights are large."""
    with durable.staged_file(path) as written, tree.opened(file, LONGEST_WRITE) as content:
        shutil.copyfileobj(content, written)
        if written.tell() != file.size:
            raise MirrorBroken(f"git gave {written.tell():,} of the {file.size:,} bytes of {file.object}")


def _checked(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The plain files of a model folder; folders in it are left out."""
    files = tuple(entry for entry in entries if entry.kind != FOLDER)
    for file in files:
        name = shown(file.name)
        if file.kind == LINK:
            raise InputRefused("SymlinkRefused", f"expected plain files, but {name} is a symbolic link")
        if file.kind == REPOSITORY:
            message = f"expected plain files, but {name} is another repository (a submodule)"
            raise InputRefused("NestedRepository", message)
        if file.kind != FILE or not _portable(file.name):
            raise InputRefused("FileName", f"expected a plain file name, got {name}")
    if len({file.name.casefold() for file in files}) < len(files):
        raise InputRefused("FileName", "expected file names that differ by more than upper and lower case")
    if len(files) > MOST_FILES or sum(file.size for file in files) > LARGEST_FOLDER:
        message = f"expected at most {MOST_FILES} files of {LARGEST_FOLDER >> 30} GiB together"
        raise InputRefused("FolderTooLarge", message)
    return files


def _portable(name: str) -> bool:
    """Means the same file, directly in its folder, on every system."""
    reserved = set(name) & set('/\\:*?"<>|') or name.endswith((".", " ")) or is_device(name)
    return name.isprintable() and not reserved


def _holds(folder: str, files: tuple[Entry, ...]) -> bool:
    """By names and sizes. The files are read-only, and their digests are compared before a conversion."""
    try:
        with os.scandir(folder) as entries:
            held = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}
    except FileNotFoundError:
        return False
    wanted = {file.name: file.size for file in files}
    return {name: size for name, size in held.items() if name in wanted or not is_of_file_manager(name)} == wanted
