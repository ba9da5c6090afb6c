"""What the worker processes of all back ends measure about themselves, and give up before they read a model."""

import contextlib
import ctypes
import sys

from reconciler.host import confine, system

ONE_PIECE = 0.05  # seconds


def rate(tokens: int, started: float, first: float, ended: float) -> float:
    """Decoding speed, without the first token, which belongs to the prompt's time; of the whole answer when it came in
    one piece."""
    if tokens > 1 and ended - first > ONE_PIECE:
        return (tokens - 1) / (ended - first)
    return tokens / (ended - started) if ended > started else 0.0


def forget_peak_memory() -> None:
    """Linux can restart the high-water mark, so that each model of a warm process gets its own figure."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak_memory() -> int:
    """In bytes. Linux: since `forget_peak_memory`; else since the process began."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) * 1024
    return system.peak_memory()


def give_back_memory() -> None:
    """What was freed, to the system: glibc keeps it for this process (900 MB after a model of 860 MB was let go)."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def confine_worker() -> None:
    """Before the first thread, and before the first foreign byte. Where a namespace is refused the rest holds still."""
    with contextlib.suppress(OSError, AttributeError):
        confine.leave_network()
    confine.stay_private()
    confine.die_first()
    confine.drop_privileges(read_all=True)
