"""Linux and macOS: the names of `host.system`. On macOS by reading only: it never ran there (docs/platforms.md)."""

import contextlib
import ctypes
import errno
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

assert sys.platform != "win32"

_T = TypeVar("_T")

_FICLONE = 0x40049409
CLONES_BY_NAME: Final = sys.platform == "darwin"  # APFS gives a clone its name at once: `clone_as`, not `clone`
_NO_FOLLOW, _NO_OWNER = 1, 2  # CLONE_NOFOLLOW, CLONE_NOOWNERCOPY
_FULL_FLUSH = 51  # F_FULLFSYNC of macOS, where fsync leaves the bytes in the cache of the disk

# macOS kills a fork that uses its frameworks after threads have run, and numeric libraries start threads.
FORKS: Final = sys.platform.startswith("linux")
HAS_OWNERS: Final = True
NEW_GROUP: Final[dict[str, Any]] = {"start_new_session": True}
PASSES_ON: Final[tuple[str, ...]] = ()  # variables without which no program starts
ENDING: Final = (signal.SIGTERM, signal.SIGINT)
STOPPING: Final = frozenset(
    {signal.SIGTERM}
)  # those of ENDING by which a service manager or a shutdown stops a service
WAKING: Final = signal.SIGHUP


class Group:
    """A process that was started with NEW_GROUP, and what it starts."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._pid = process.pid

    def end(self) -> None:
        """ESRCH: none is left. macOS says EPERM for a group of zombies."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_own_group() -> None:
    """With what this process has started; not where it leads no group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


def hear_shutdown(seconds: float) -> None:
    """A shutdown is a SIGTERM here."""


def interpreter() -> tuple[str, dict[str, str]]:
    """What starts another Python like this one, and the variables that it needs."""
    return sys.executable, {}


def machine() -> str:
    """The architecture of its processors, as the system calls it."""
    return os.uname().machine


def peak_memory() -> int:
    """The most that this process has held, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class _Usage(ctypes.Structure):
    """rusage_info_v0 of macOS."""

    _fields_ = (
        ("uuid", ctypes.c_uint8 * 16),
        ("others", ctypes.c_uint64 * 7),
        ("footprint", ctypes.c_uint64),
        ("times", ctypes.c_uint64 * 2),
    )


def private_memory(pid: int) -> int:
    """macOS: bytes without what the system can drop because it is in a file; 0 for a process that is gone or another
    user's. psutil's figure of that kind is for root alone there."""
    usage = _Usage()
    done = ctypes.CDLL(None).proc_pid_rusage(pid, 0, ctypes.byref(usage))
    return int(usage.footprint) if done == 0 else 0


def try_lock(descriptor: int) -> bool:
    """Whether this process now has the lock of an open file. The system drops it with the file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def fsync(descriptor: int) -> None:
    """To the disk itself."""
    if sys.platform == "darwin":
        with contextlib.suppress(OSError):  # a file system that does not know it, such as a network's
            fcntl.fcntl(descriptor, _FULL_FLUSH)
            return
    os.fsync(descriptor)


def flush_folder(path: str, flush: Callable[[str, int], None]) -> None:
    flush(path or ".", os.O_RDONLY | os.O_DIRECTORY)


def clone(original: int, copy: int) -> None:
    """Give an empty file the blocks of another, as long as neither is changed. OSError where that cannot be."""
    if not sys.platform.startswith("linux"):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    fcntl.ioctl(copy, _FICLONE, original)


def clone_as(original: str, copy: str) -> None:
    """As `clone`, to a name that is free. OSError where that cannot be (another volume, or no APFS)."""
    library = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_uint32(_NO_FOLLOW | _NO_OWNER)
    if library.clonefile(os.fsencode(original), os.fsencode(copy), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), copy)


def release(path: str) -> None:
    """Before a file is removed or replaced: nothing has to be done here."""


def remove_tree(folder: str, *, ignore_errors: bool = False) -> None:
    """A folder of ours with all that is in it."""
    shutil.rmtree(folder, ignore_errors=ignore_errors)


def in_use(error: OSError) -> bool:
    """Whether something was refused because another program has the file open: never here."""
    return False


def patiently(action: Callable[[], _T]) -> _T:
    """Try again for a moment what is refused because another program has the file open: never here."""
    return action()


def allocated(status: os.stat_result) -> int:
    """Bytes that a file occupies; less than its size where it has holes."""
    return status.st_blocks * 512


def user_id() -> int:
    return os.geteuid()


def group_id() -> int:
    return os.getegid()


def user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def settle_streams() -> None:
    """UTF-8 and plain line ends already, as the locale says."""
