"""Every durable write of the program. The order of writes is the design, and it is decided here:

content before the name that points at it, the name removed before the content, and a name is promised only
when the folder that holds it has been flushed. A reader sees the old content or the new, never half of it.

All changes go through `_step`, so that a test can kill the process before any one of them, or let the system refuse it:
with RECONCILER_CRASH_AT=<n> in its environment, a process kills itself just before its n-th step, and with
RECONCILER_FAIL_AT=<n>:<ENOSPC|EIO|...> that step fails (with a `+` at the end, all that follow it too).
Limit: Windows cannot flush a folder, so there a name may be lost with the power, though never its content.
"""

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from reconciler.domain.errors import refused
from reconciler.domain.layout import is_of_file_manager
from reconciler.domain.release import ALWAYS_COPIED
from reconciler.host import system

CHUNK = 1 << 20
TEMPORARY = ".tmp"
_OURS = re.compile(r".+\.[0-9a-f]{8}\.tmp", re.DOTALL)  # as `write_file` and `adopt` name them
DISPOSABLE = ("trash", "staging")

# What a file system says when it cannot link here (EINVAL on Windows), rather than that something is wrong.
CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)

_crash_at = int(os.environ.get("RECONCILER_CRASH_AT", "0"))
_steps = 0


def fault(text: str) -> tuple[int, int, bool]:
    """Which step fails, how, and whether all later ones do: `3:EIO`, `3:EROFS+`."""
    number, _, name = text.partition(":")
    return int(number), int(getattr(errno, name.rstrip("+"))), name.endswith("+")


_fail_at = fault(os.environ.get("RECONCILER_FAIL_AT") or "0:EIO")


def write_file(path: str, data: bytes, mode: int = 0o644, *, staging: str = "") -> None:
    """Replace the whole file at once. `staging` is where it is written meanwhile, if not beside `path`."""
    with full_disk_named(path):
        folder, name = os.path.split(path)
        temporary = os.path.join(staging or folder, f".{name}.{os.urandom(4).hex()}{TEMPORARY}")
        with _new_file(temporary, mode) as file:
            file.write(data[: len(data) // 2])
            file.flush()
            _step("write")  # a crash here leaves half a file
            file.write(data[len(data) // 2 :])
        # After the flush: a name must never promise content that a power cut can take.
        try:
            rename(temporary, path)  # order: a file is flushed, then named 2/2
        except OSError:
            _give_back(temporary)
            raise


@contextlib.contextmanager
def staged_file(path: str, mode: int = 0o444) -> Iterator[BinaryIO]:
    """A new file below a staging folder. Not flushed here: `publish` flushes the whole folder before it gets its name,
    and `replace_files` each file."""
    with full_disk_named(path):
        _step("create")
        with open(path, "xb") as file:
            yield file
        os.chmod(path, mode)


def append_line(path: str, line: bytes) -> None:
    """Add one line (given without its end) to a log that may lose its last lines but never an older one."""
    with full_disk_named(path), open(path, "ab+") as log:
        end = log.seek(0, os.SEEK_END)
        log.seek(max(0, end - 1))
        torn = log.read(1) not in (b"", b"\n")
        _step("append")
        log.write(b"\n" * torn + line + b"\n")  # a line torn by a crash must not take this one with it


def publish(staged: str, final: str) -> None:
    """Give a finished folder its name. The name must be free: what is published is never changed."""
    with full_disk_named(final):
        make_folder(os.path.dirname(final))
        # flush: all that is published
        # order: a folder is flushed, then named 1/2
        flush_below(staged)
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final)
        rename(staged, final)  # order: a folder is flushed, then named 2/2


def replace_files(staged: str, final: str, quarantine: str, move: Callable[[str, str], None] | None = None) -> None:
    """Mend a published folder file by file, so that what is whole in it serves meanwhile. What does not
    belong there is moved to `quarantine`. `move` moves one file (see `StampBook.move`)."""
    with full_disk_named(final):
        wanted = {os.path.relpath(path, staged) for path in _regular_files_below(staged)}
        _quarantine_foreign(final, wanted, quarantine)
        for name in sorted(wanted):
            source, destination = os.path.join(staged, name), os.path.join(final, name)
            if os.path.exists(destination) and os.path.samefile(source, destination):
                continue
            make_folder(os.path.dirname(destination))
            # flush: a file that mends a folder
            # order: a file that mends is flushed, then named 1/2
            _flush(source)
            (move or rename)(source, destination)  # order: a file that mends is flushed, then named 2/2


def unname(path: str, trash: str) -> str:
    """Take a name away at once, and keep the bytes out of sight until `free`. Returns where they are now."""
    with full_disk_named(trash):
        make_folder(trash)
        moved = os.path.join(trash, f"{os.urandom(8).hex()}-{os.path.basename(path)}")
        rename(path, moved)
        return moved


def free(path: str, remove: Callable[[str], None] | None = None) -> None:
    """Delete a tree that lies directly in a trash or staging folder, and nothing else. It follows no links.

    `remove` deletes one file (see `StampBook.remove`). Already gone is fine.
    """
    parent = os.path.dirname(os.path.abspath(path))
    if os.path.basename(parent) not in DISPOSABLE or os.path.islink(parent):
        # guard: nothing outside trash and staging is freed
        raise ValueError(f"refusing to delete {path}: it is in no trash or staging folder")
    _free(path, remove or remove_file)


def empty(folder: str, *, keep: Iterable[str] = ()) -> None:
    """Free everything in a trash or staging folder, but for the names in `keep`. What cannot be freed keeps nothing
    else; the first of it is raised in the end."""
    refusals: list[OSError] = []
    for name in sorted({*os.listdir(folder)} - {*keep}) if os.path.isdir(folder) else ():
        try:
            free(os.path.join(folder, name))
        except OSError as error:
            refusals.append(error)
    for first in refusals:
        raise first


def share(source: str, destination: str) -> str:
    """Give `destination` the bytes of `source` without a copy, where that is safe and possible: `reflink`, `hardlink`,
    or "" when they must be copied."""
    if os.stat(source).st_size < ALWAYS_COPIED:
        return ""
    if _reflink(source, destination):
        return "reflink"
    return "hardlink" if _hardlink(source, destination) else ""


def copy_hashed(
    source: str, destination: str, mode: int = 0o444, on_bytes: Callable[[int], None] = lambda count: None
) -> tuple[str, int]:
    """Copy into a new file; the digest and size are those of the bytes that were written. `on_bytes` is called with
    the size so far, and what it raises ends the copy."""
    with full_disk_named(destination), open(source, "rb") as original:
        hashing, size = hashlib.sha256(), 0
        with _new_file(destination, mode) as copy:
            while chunk := original.read(CHUNK):
                hashing.update(chunk)
                size += copy.write(chunk)
                on_bytes(size)
        return "sha256:" + hashing.hexdigest(), size


def adopt(source: str, destination: str) -> None:
    """Move a file to its final name, without a second copy where the file system allows. The caller flushes
    the folder: many files may share that one flush."""
    with full_disk_named(destination):
        alone = os.stat(source).st_nlink == 1  # through another name it could be changed later
        if not alone or os.stat(source).st_dev != os.stat(os.path.dirname(destination)).st_dev:
            copied = temporary_for(destination)
            copy_hashed(source, copied)
            source = copied
        else:
            _flush(source)  # flush: a file that is adopted
            _step("seal")
            os.chmod(source, 0o444)
        _replace(source, destination)


def temporary_for(path: str) -> str:
    """A name beside it that a sweep knows as ours."""
    return f"{path}.{os.urandom(4).hex()}{TEMPORARY}"


def rename(source: str, destination: str) -> None:
    """Durable in both folders."""
    _replace(source, destination)
    flush_folder(os.path.dirname(destination))  # flush: the folder that a name comes to
    if os.path.dirname(source) != os.path.dirname(destination):
        flush_folder(os.path.dirname(source))  # flush: the folder that a name goes from


def set_aside(path: str) -> None:
    """Rename a damaged file, so that a person can look at it."""
    number = 1
    while os.path.lexists(f"{path}.damaged-{number}"):
        number += 1
    rename(path, f"{path}.damaged-{number}")


def remove_file(path: str) -> None:
    _step("unlink")
    system.release(path)
    system.patiently(lambda: os.unlink(path))


def make_folder(path: str) -> None:
    """With all missing parents, each of them durable."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    make_folder(parent)
    with full_disk_named(path):
        _step("mkdir")
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
        flush_folder(parent)  # flush: the folder of a new folder


def flush_file(path: str) -> None:
    """For what another program wrote without making it last, and we go on to rely on."""
    _flush(path)  # flush: a file, if asked for


def flush_folder(path: str) -> None:
    system.flush_folder(path, _flush)  # flush: a folder, if asked for


def flush_below(path: str) -> None:
    """Everything in a folder, and itself."""
    for file in _regular_files_below(path):
        _flush(file)  # flush: the files of what is published
    for folder, _, _ in os.walk(path, topdown=False):
        flush_folder(folder)  # flush: the folders of what is published


def is_temporary(name: str) -> bool:
    """Whether a writer of ours gives such a name to a file that is not finished yet."""
    return _OURS.fullmatch(name) is not None


def sweep_temporaries(folder: str) -> None:
    """Remove what a killed writer left. Only for the holder of the lock: another writer's may be in use."""
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if is_temporary(name) and stat.S_ISREG(os.lstat(path).st_mode):
            remove_file(path)


@contextlib.contextmanager
def full_disk_named(path: str) -> Iterator[None]:
    """A disk that is full, failing or read-only is no bug of this program: the message says so, whichever call found
    it, and where."""
    try:
        yield
    except OSError as error:
        known = refused(error)
        if known is None or not known.code.startswith("Disk"):
            raise
        what = "no space left" if known.code == "DiskFull" else error.strerror
        raise type(known)(f"{what} for {path}", hint=known.hint, code=known.code) from error


def _step(name: str) -> None:
    """Called before each change; `name` is for the trace of a crash."""
    global _steps  # noqa: PLW0603
    _steps += 1
    if _steps == _crash_at:
        os.write(2, f"crash before step {_steps}: {name}\n".encode())
        os.kill(os.getpid(), 9)
    number, code, lasting = _fail_at
    if number and (_steps == number or (lasting and _steps > number)):
        raise OSError(code, os.strerror(code))


def _replace(source: str, destination: str) -> None:
    _step("rename")
    if os.path.isfile(destination):
        system.release(destination)
    system.patiently(lambda: os.replace(source, destination))


@contextlib.contextmanager
def _new_file(path: str, mode: int) -> Iterator[BinaryIO]:
    """A new file, flushed at the end; gone after a failure, because a full disk wants its bytes back."""
    _step("create")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.chmod(path, mode)  # whatever the umask says; before the flush, which makes this last too
            _step("flush")
            # flush: a new file
            # order: a file is flushed, then named 1/2
            system.fsync(descriptor)
    except BaseException:
        _give_back(path)
        raise


def _give_back(path: str) -> None:
    """The bytes of a write that failed, if they are still there: a full disk wants them."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def _reflink(source: str, destination: str) -> bool:
    """Only an attempt: where it fails for whatever reason, the next way says what is wrong."""
    try:
        if system.CLONES_BY_NAME:
            _clone_as(source, destination)
        else:
            with open(source, "rb") as original, _new_file(destination, 0o444) as clone:
                system.clone(original.fileno(), clone.fileno())
    except OSError:
        if os.path.lexists(destination):  # it could not be given back, and stands in the way of the next
            os.unlink(destination)
        return False
    return True


def _clone_as(source: str, destination: str) -> None:
    _step("create")
    system.clone_as(source, destination)
    os.chmod(destination, 0o444)
    _flush(destination)


def _hardlink(source: str, destination: str) -> bool:
    _step("link")
    try:
        os.link(source, destination)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        return False
    return True


def _quarantine_foreign(final: str, wanted: set[str], quarantine: str) -> None:
    folders = {os.path.dirname(name) for name in wanted}
    for folder, below, names in os.walk(final):
        for name in [*below, *names]:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, final)
            kind = os.lstat(path).st_mode
            harmless = relative in wanted or is_of_file_manager(name)
            fits = relative in folders if stat.S_ISDIR(kind) else harmless and stat.S_ISREG(kind)
            if not fits:
                target = os.path.join(quarantine, relative)
                make_folder(os.path.dirname(target))
                rename(path, target)
        below[:] = [name for name in below if os.path.isdir(os.path.join(folder, name))]


def _free(path: str, remove: Callable[[str], None]) -> None:
    with contextlib.suppress(FileNotFoundError):  # each by itself: others may tidy up here too
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            remove(path)
            return
        for name in os.listdir(path):
            _free(os.path.join(path, name), remove)
        _step("rmdir")
        system.patiently(lambda: os.rmdir(path))


def _regular_files_below(path: str) -> Iterator[str]:
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(file).st_mode):  # opening a FIFO would wait for its other end
                yield file


def _flush(path: str, flags: int = os.O_RDONLY) -> None:
    if os.name == "nt":
        flags = os.O_RDWR  # there a flush wants a handle that may write
        if not os.access(path, os.W_OK):
            return  # sealed files were flushed before they were sealed
    _step("flush")
    descriptor = os.open(path, flags)
    try:
        system.fsync(descriptor)  # flush: the flush itself
    finally:
        os.close(descriptor)
