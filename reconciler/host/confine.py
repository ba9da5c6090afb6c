"""What a process gives up about itself, for good, before it reads foreign bytes: open files of its parent, privileges,
the network, core dumps. Each step is for the process that calls it and for all that this one starts.

Linux only; elsewhere they do nothing, and `host.cage` says so.
"""

import contextlib
import ctypes
import os
import struct
import sys

IS_LINUX = sys.platform.startswith("linux")

_SET_DUMPABLE, _SET_NO_NEW_PRIVS, _SET_CHILD_SUBREAPER = 4, 38, 36
_CAPABILITIES_3 = 0x20080522
_DAC_READ_SEARCH = 1 << 2
_NEW_USER, _NEW_NET, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000


def leave_network() -> None:
    """Into a network of its own, where nothing is. Raises OSError where the kernel refuses, and RuntimeError where this
    process runs threads already (numpy starts some when it is imported): then no kernel allows it."""
    if (threads := _threads()) > 1:
        raise RuntimeError(f"the network must be left before the first thread, and {threads} threads run already")
    user, group = os.geteuid(), os.getegid()
    for kinds in (_NEW_USER | _NEW_NET | _NEW_IPC, _NEW_USER | _NEW_NET):  # our systemd unit allows the second
        if ctypes.CDLL(None, use_errno=True).unshare(kinds) == 0:
            break
    else:
        number = ctypes.get_errno()
        raise OSError(number, f"the network cannot be left: unshare: {os.strerror(number)}")
    # Else files would seem to be nobody's. Where that is refused nothing else is lost.
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
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # there is none on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if IS_LINUX:
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def limit(**limits: int) -> None:
    """Resource limits by their names (`RLIMIT_AS=...`), soft and hard; none on Windows, and fewer on macOS."""
    with contextlib.suppress(ImportError):
        import resource

        for name, most in limits.items():
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(getattr(resource, name), (most, most))


def limit_cpu(seconds: int) -> None:
    """At most so many more seconds of processor time (one less at least); then SIGXCPU ends this process."""
    with contextlib.suppress(ImportError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = int(used.ru_utime + used.ru_stime) + seconds
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def limit_files(longest: int) -> None:
    """No file beyond so many bytes: writing on fails with EFBIG."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (longest, longest))


def die_first() -> None:
    """When the kernel runs out of memory, this process is the one that it ends."""
    if IS_LINUX:
        with contextlib.suppress(OSError):
            _write("/proc/self/oom_score_adj", "1000")


def forget_open_files(*but: int) -> None:
    """Pipes of the parent's above all. The numbers stay taken: somebody's object may still close them."""
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


def _threads() -> int:
    """Of this process, also those that Python does not know of; 1 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
