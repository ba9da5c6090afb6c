"""Windows: the names of `host.system`. Tried under Wine 8 only (docs/platforms.md)."""

import _thread
import contextlib
import ctypes
import errno
import getpass
import msvcrt
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from ctypes import wintypes
from typing import Any, Final, TextIO, TypeVar

import psutil

assert sys.platform == "win32"

_T = TypeVar("_T")

FORKS: Final = False
HAS_OWNERS: Final = False
NEW_GROUP: Final[dict[str, Any]] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # our Ctrl-C is not its
# Without the first no process can open a socket or draw a random number.
PASSES_ON: Final = ("SYSTEMROOT", "SYSTEMDRIVE", "PATHEXT", "COMSPEC", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE")
ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGBREAK)  # the last: Ctrl-Break, a closed window, a shutdown
# Those of ENDING by which a service manager or a shutdown stops a service. Nothing else reaches a process group of its
# own than Ctrl-Break, so who sends it is most often a program.
STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGBREAK})
WAKING: Final = None

CLONES_BY_NAME: Final = False

_DENIED, _SHARING, _LOCKED, _NOT_EMPTY = 5, 32, 33, 145
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)  # seconds: a virus scanner or an indexer lets go within that
_EXTENDED_LIMITS, _KILL_ON_CLOSE = 9, 0x2000

_kernel = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel.CreateJobObjectW.restype = wintypes.HANDLE
_kernel.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
_kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD)
_kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
_kernel.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
_kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
_kernel.IsWow64Process2.argtypes = (wintypes.HANDLE, wintypes.LPWORD, wintypes.LPWORD)
_kernel.GetCurrentProcess.restype = wintypes.HANDLE

_kernel.LockFileEx.argtypes = (wintypes.HANDLE, *(wintypes.DWORD,) * 4, wintypes.LPVOID)
_LOCK_AT_ONCE = 3  # exclusive, or not at all

_CLOSED, _LOGGED_OFF, _SHUTDOWN = 2, 5, 6  # events of a console
_ConsoleHandler = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)
_kernel.SetConsoleCtrlHandler.argtypes = (_ConsoleHandler, wintypes.BOOL)
_handlers: list[Any] = []  # which must live as long as Windows may call them

_MACHINES = {0x014C: "x86", 0x8664: "AMD64", 0xAA64: "ARM64"}


class _Limits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION; only the flags are ours."""

    _fields_ = (
        ("times", ctypes.c_int64 * 2),
        ("flags", wintypes.DWORD),
        ("sizes", ctypes.c_size_t * 2),
        ("processes", wintypes.DWORD),
        ("affinity", ctypes.c_size_t),
        ("classes", wintypes.DWORD * 2),
        ("io", ctypes.c_uint64 * 6),
        ("memory", ctypes.c_size_t * 4),
    )


class _Overlapped(ctypes.Structure):
    """OVERLAPPED; its place in the file is 0."""

    _fields_ = (("internal", ctypes.c_size_t * 2), ("place", ctypes.c_uint64), ("event", wintypes.HANDLE))


class Group:
    """A process and what it starts, in a job object: all of it ends with `end`, and also when this process ends in
    whatever way, because the system then closes our handle. What it starts before it is put into the job is not in it;
    an interpreter starts nothing in its first moment."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._job = _kernel.CreateJobObjectW(None, None)
        limits = _Limits(flags=_KILL_ON_CLOSE)
        _kernel.SetInformationJobObject(self._job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        _kernel.AssignProcessToJobObject(self._job, int(process._handle))  # type: ignore[attr-defined]

    def end(self) -> None:
        if self._job:
            _kernel.TerminateJobObject(self._job, 1)

    def __del__(self) -> None:
        if self._job:
            _kernel.CloseHandle(self._job)
            self._job = None


def kill(pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).kill()


def kill_own_group() -> None:
    """What this process has started ends with the job object that its parent holds."""


def hear_shutdown(seconds: float) -> None:
    """Windows ends a process as soon as its handler of a closed window or a shutdown returns. So that it can end by
    itself, ours raises SIGBREAK and returns `seconds` later; Windows itself waits for five. That a user logs off only
    services are told, and of any user: nothing ends then, where the C library would make it a SIGBREAK, too."""

    def handle(event: int) -> bool:
        if event == _LOGGED_OFF:
            return True
        if event not in (_CLOSED, _SHUTDOWN):
            return False  # the C library's handler makes a signal of it
        _thread.interrupt_main(signal.SIGBREAK)
        time.sleep(seconds)
        return True

    _handlers.append(_ConsoleHandler(handle))
    _kernel.SetConsoleCtrlHandler(_handlers[-1], True)


def interpreter() -> tuple[str, dict[str, str]]:
    """What starts another Python like this one, and the variables that it needs. The python.exe of a virtual
    environment only starts the real one: its process id and its memory would not be those of our child."""
    real = getattr(sys, "_base_executable", sys.executable)
    return (real, {"__PYVENV_LAUNCHER__": sys.executable}) if real != sys.executable else (real, {})


def machine() -> str:
    """The architecture of its processors, also for a program that was made for another one and is translated. The
    platform module would ask WMI, which takes a tenth of a second and may never answer."""
    ours, native = wintypes.WORD(), wintypes.WORD()
    _kernel.IsWow64Process2(_kernel.GetCurrentProcess(), ctypes.byref(ours), ctypes.byref(native))
    return _MACHINES.get(native.value, os.environ.get("PROCESSOR_ARCHITECTURE", ""))


def peak_memory() -> int:
    """The most that this process has held, in bytes."""
    return int(psutil.Process().memory_info().peak_wset)


def private_memory(pid: int) -> int:
    """Bytes without what the system can drop because it is in a file; 0 for a process that may not be looked at."""
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().private)
    return 0


def try_lock(descriptor: int) -> bool:
    """Whether this process now has the lock of an open file. The system drops it with the file."""
    handle, where = msvcrt.get_osfhandle(descriptor), _Overlapped()
    if _kernel.LockFileEx(handle, _LOCK_AT_ONCE, 0, 1, 0, ctypes.byref(where)):
        return True
    error = ctypes.get_last_error()
    if error == _LOCKED:
        return False
    raise ctypes.WinError(error)


def fsync(descriptor: int) -> None:
    """To the disk itself."""
    os.fsync(descriptor)


def flush_folder(path: str, flush: Callable[[str, int], None]) -> None:
    """A folder cannot be flushed here."""


def clone(original: int, copy: int) -> None:
    """Give an empty file the blocks of another: ReFS could, but does not here."""
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def clone_as(original: str, copy: str) -> None:
    """As `clone`, to a name that is free: nor this."""
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), copy)


def release(path: str) -> None:
    """Before a file is removed or replaced: a read-only one cannot be. Its other names lose the flag with it."""
    os.chmod(path, stat.S_IWRITE)


def remove_tree(folder: str, *, ignore_errors: bool = False) -> None:
    """A folder of ours with all that is in it, also what is read-only, such as the packs of git."""
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                release(os.path.join(where, name))
    shutil.rmtree(folder, ignore_errors=ignore_errors)


def in_use(error: OSError) -> bool:
    """Whether something was refused because another program has the file open."""
    return getattr(error, "winerror", None) in (_DENIED, _SHARING, _LOCKED, _NOT_EMPTY)


def patiently(action: Callable[[], _T]) -> _T:
    """Try again for a moment what is refused because another program has the file open."""
    for pause in _PAUSES:
        try:
            return action()
        except OSError as error:
            if not in_use(error):
                raise
        time.sleep(pause)
    return action()


def allocated(status: os.stat_result) -> int:
    """Bytes that a file occupies: as many as it is long, for all that is known here."""
    return status.st_size


def user_id() -> int:
    return -1


def group_id() -> int:
    return -1


def user_name(number: int) -> str:
    with contextlib.suppress(OSError, ImportError, KeyError):
        return getpass.getuser()
    return "this user"


def settle_streams() -> None:
    """UTF-8 and plain line ends, whatever the code page of the console: other programs read what we print."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIO) or hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")  # type: ignore[union-attr]
