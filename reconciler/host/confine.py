"""What a process gives up, for good, before it reads foreign bytes: open files of its parent, privileges, the network,
core dumps, and by Landlock (`restrict`) all files but those that it names. Each step is for the process that calls it
and for all that this one starts.

Linux only; elsewhere they do nothing, and `host.cage` says so. Landlock needs 5.13, no privilege and no helper, and has
no wrapper in the C library. Its limits: sockets in the file system can be reached as before, and so can UDP (a network
namespace takes both it and TCP away); TCP is closed from ABI 4 on, abstract sockets and signals from ABI 6 on.
"""

import contextlib
import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Iterable
from functools import cache

from reconciler.host.system import group_id, user_id

IS_LINUX = sys.platform.startswith("linux")

_SET_DUMPABLE, _SET_NO_NEW_PRIVS, _SET_CHILD_SUBREAPER = 4, 38, 36
_CAPABILITIES_3 = 0x20080522
_DAC_READ_SEARCH = 1 << 2
_NEW_USER, _NEW_NET, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture but alpha
_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_TRUNCATE = 1 << 14
_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many there are
_TCP = 0b11
_SCOPES = 0b11  # abstract sockets, signals

_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_NEVER = _EXECUTE | _MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCK  # not even where one may write


def leave_network() -> None:
    """Into a network of its own, where nothing is. Raises OSError where the kernel refuses, and RuntimeError where this
    process runs threads already (numpy starts some when it is imported): then no kernel allows it."""
    if (threads := _threads()) > 1:
        raise RuntimeError(f"the network must be left before the first thread, and {threads} threads run already")
    if not IS_LINUX:
        raise OSError(errno.ENOSYS, "the network can be left on Linux only")
    user, group = user_id(), group_id()
    for kinds in (_NEW_USER | _NEW_NET | _NEW_IPC, _NEW_USER | _NEW_NET):  # our systemd unit allows the second
        if ctypes.CDLL(None, use_errno=True).unshare(kinds) == 0:
            break
    else:
        number = ctypes.get_errno()
        raise OSError(number, f"the network cannot be left: unshare: {os.strerror(number)}")
    # Else files would seem to have no owner. Where that is refused nothing else is lost.
    with contextlib.suppress(OSError):
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")


def adopt_orphans() -> None:
    """What a child of ours leaves behind becomes our child, not that of the system: so it can be found and ended."""
    if IS_LINUX:
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def stay_private() -> None:
    """No core dump, and no other process of this user may read our memory."""
    limit(RLIMIT_CORE=0)
    if IS_LINUX:
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def limit(**limits: int) -> None:
    """Resource limits by their names (`RLIMIT_AS=...`), soft and hard; none on Windows, and fewer on macOS. Writing
    beyond RLIMIT_FSIZE fails with EFBIG."""
    if sys.platform == "win32":
        return
    import resource

    for name, most in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (most, most))


def limit_cpu(seconds: int) -> None:
    """At most so many more seconds of processor time (one less at least); then SIGXCPU ends this process."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + seconds
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def die_first() -> None:
    """When the kernel runs out of memory, this process is the one that it ends."""
    if IS_LINUX:
        with contextlib.suppress(OSError):
            _write("/proc/self/oom_score_adj", "1000")


def forget_open_files(*but: int) -> None:
    """Pipes of the parent's above all. The numbers stay taken: an object may still close them."""
    if not IS_LINUX:
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number not in (*but, nothing):
            with contextlib.suppress(OSError):  # the listing's own
                os.fstat(number)
                os.dup2(nothing, number)
    os.close(nothing)


def drop_privileges(*, read_all: bool) -> None:
    """No capability is left, and none comes back by a program that is setuid. `read_all` keeps what lets root read the
    models of other users: only where something else bounds what can be opened."""
    if not IS_LINUX:
        return
    library = ctypes.CDLL(None)
    library.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, held = struct.pack("=Ii", _CAPABILITIES_3, 0), ctypes.create_string_buffer(24)
    if library.capget(header, held):
        return
    effective, permitted = struct.unpack_from("=II", held.raw)
    kept = effective & permitted & (_DAC_READ_SEARCH if read_all else 0)
    library.capset(header, struct.pack("=IIIIII", kept, kept, 0, 0, 0, 0))


@cache
def landlock_abi() -> int:
    """0 where there is no Landlock, or where it is switched off."""
    if not IS_LINUX:
        return 0
    version: int = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))
    return max(0, version)


def restrict(*, readable: Iterable[str], writable: Iterable[str], devices: Iterable[str] = ()) -> None:
    """From now on only these may be opened, with all below them. What is open stays open. Raises OSError."""
    version = landlock_abi()
    handled = (1 << _RIGHTS_OF_ABI.get(version, 16)) - 1
    attributes = struct.pack("=QQQ", handled, _TCP, _SCOPES)
    length = 8 if version < 4 else 16 if version < 6 else 24
    rules = _call(_CREATE_RULESET, attributes[:length], ctypes.c_size_t(length), ctypes.c_uint(0))
    try:
        for paths, rights in ((readable, _READ), (devices, _READ_FILE | _WRITE_FILE), (writable, ~_NEVER)):
            for path in paths:
                _allow(rules, path, rights & handled)
        if ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError("the kernel does not let go of privileges")
        _call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint(0))
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    if sys.platform != "linux":
        raise NotImplementedError
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:  # nothing to open, nothing to allow
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
        rule = struct.pack("=Qi", rights if is_folder else rights & _OF_A_FILE, place)
        _call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint(0))
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result: int = library.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result


def _threads() -> int:
    """Of this process, also those that Python does not know of; 1 where the system does not list them."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
