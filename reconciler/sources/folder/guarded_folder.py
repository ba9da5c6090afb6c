"""Open single files of a foreign folder (regular files only, of a sane size, holding what their name promises), and
note what is wrong with it, all at once.

A symbolic link is followed when it stays in the folder, or leads from a Hugging Face cache's `snapshots/<revision>` to
the `blobs` beside it: a link to anywhere else could carry a host's file into an artifact. A hard link cannot be
distinguished
from a file; who may write the folder could as well have copied it.
"""

import json
import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import IO, Any, ParamSpec, TypeVar

from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import BUG, BUG_HINT, InputRefused, Problem, unless_we_fail
from reconciler.domain.sources import lfs_pointer
from reconciler.domain.text.escape import one_line
from reconciler.domain.text.quoting import nearest
from reconciler.host.codec import unique
from reconciler.host.stamps import StampBook
from reconciler.host.system import allocated

P = ParamSpec("P")
T = TypeVar("T")

LARGEST_SMALL_FILE = 16 << 20  # bytes; the largest tokenizer_config.json in use is below 1 MiB
# A file of more than this with holes in it is no model: writing zeros is what training never does.
SPARSE_FROM = 1 << 30
DENIED_HINT = "check the permissions: the files may all be there, so let this user read them instead of writing anew"


class Folder:
    """A folder on this disk. `sources.git.manifests_in_commit` answers the same questions about one in git."""

    def __init__(self, path: str, stamps: StampBook | None = None) -> None:
        self.path = path
        self._stamps = stamps

    def refusal(self, missing: str) -> InputRefused | None:
        """Why its content cannot be listed. A folder that cannot be read is not a missing one."""
        try:
            os.listdir(self.path)
            os.stat(os.path.join(self.path, os.curdir))  # names that can be listed but not looked at
        except PermissionError as error:
            return InputRefused("SourceUnreadable", (error.strerror or "permission denied").lower(), DENIED_HINT)
        except OSError:
            pass  # not there, or no folder
        return None if os.path.isdir(self.path) else InputRefused(missing, "no such folder", self._meant())

    def _meant(self) -> str:
        """The folder beside it that is spelt most alike."""
        above, name = os.path.split(self.path.rstrip(os.sep))
        try:
            with os.scandir(above) as entries:
                return nearest(name, (entry.name for entry in entries if entry.is_dir()))
        except OSError:
            return ""

    def names(self) -> list[str]:
        return sorted(os.listdir(self.path))

    def exists(self, name: str) -> bool:
        return os.path.lexists(os.path.join(self.path, name))

    def size(self, name: str) -> int:
        """The size of a regular file; InputRefused for anything else, for a link that leads out, and for a pointer of
        Git LFS."""
        path = os.path.join(self.path, name)
        try:
            status = os.stat(path)
        except PermissionError:
            raise denied() from None
        except OSError as error:
            raise InputRefused("FileUnreadable", (error.strerror or "cannot be read").lower()) from None
        if not stat.S_ISREG(status.st_mode):
            raise InputRefused("NotAFile", "expected a regular file")
        if os.path.islink(path) and not _stays_inside(self.path, path):  # guard: weights do not lie outside
            message = "a symbolic link to a file outside the model folder"
            raise InputRefused("LinkLeadsOut", message, "put the file itself there")
        if not os.access(path, os.R_OK):
            raise denied()
        # guard: a sparse file is no model
        if status.st_size >= SPARSE_FROM and allocated(status) < status.st_size // 4:
            raise InputRefused("FileSparse", f"{status.st_size} bytes long, but most of them were never written")
        if status.st_size < lfs_pointer.LONGEST:
            with self.opened(name) as file:
                lfs_pointer.refuse_pointer(file.read(lfs_pointer.LONGEST))
        return status.st_size

    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Of a file whose size was asked before."""
        return open(os.path.join(self.path, name), "rb")

    def digest(self, name: str) -> str:
        assert self._stamps is not None, "a folder without stamps is never hashed"
        return self._stamps.digest(os.path.join(self.path, name))

    def stored(self, name: str) -> StoredFile:
        return StoredFile(path=name, size=self.size(name), digest=self.digest(name))


class FolderProblems:
    """The problems of one folder, each one line, whatever names and values it quotes. Files are named below the
    folder's own name: its whole path may be private."""

    def __init__(self, folder: str) -> None:
        self.problems: list[Problem] = []
        self._name = os.path.basename(folder.rstrip(os.sep))

    def attempt(self, file: str, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What the action returns; None where it finds something wrong with that file."""
        return unless_we_fail(
            lambda: self._attempt(file, partial(action, *args, **kwargs)),
            lambda message: self.note(file, InputRefused(BUG, message, BUG_HINT)),
        )

    def _attempt(self, file: str, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except InputRefused as refused:
            self.note(file, refused)
        except PermissionError:
            self.note(file, denied())
        except OSError as error:
            self.note(file, InputRefused("FileUnreadable", (error.strerror or str(error)).lower()))
        return None

    def note(self, file: str, refused: InputRefused) -> None:
        self.problems.append(self.problem(file, refused))

    def problem(self, file: str, refused: InputRefused) -> Problem:
        place = one_line("/".join(filter(None, (self._name, file))))
        return Problem(code=refused.code, file=place, message=one_line(str(refused)), hint=one_line(refused.hint))


def denied() -> InputRefused:
    return InputRefused("FileUnreadable", "permission denied", DENIED_HINT)


def read_object(folder: Folder, name: str) -> dict[str, Any]:
    """A small file that holds one JSON object."""
    try:
        value = json.loads(read_small(folder, name), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InputRefused("JsonInvalid", f"not valid JSON: {str(error)[:100]}") from None
    if not isinstance(value, dict):
        raise InputRefused("JsonInvalid", "expected a JSON object")
    return value


def read_small(folder: Folder, name: str) -> bytes:
    size = folder.size(name)
    if size > LARGEST_SMALL_FILE:
        raise InputRefused("FileTooLarge", f"{size} bytes long, expected at most {LARGEST_SMALL_FILE}")
    with folder.opened(name) as file:
        return file.read(LARGEST_SMALL_FILE)


def _stays_inside(folder: str, path: str) -> bool:
    home, target = os.path.realpath(folder), os.path.realpath(path)
    cache, kind = os.path.split(os.path.dirname(home))
    rooms = [home, os.path.join(cache, "blobs")] if kind == "snapshots" else [home]
    return any(target.startswith(room + os.sep) for room in rooms)
