"""What can go wrong, and whether trying again can help.

A permanent failure is tried once and then remembered (domain.failures) until its input changes. So an error is
permanent only if its key would change with what mends it: tools that are missing are mended by a person without any
change to what git declares, and count as temporary. Only the command line turns these into exit codes.
"""

import errno
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from reconciler.domain.text.escape import one_line
from reconciler.domain.text.quoting import count_of

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One fault of an input: where, what was expected, what was found, what to do.

    `code` is stable (docs/manifests/problems.md); `line` is 1-based, 0 when the whole file is meant.
    """

    code: str
    file: str
    line: int = 0
    field: str = ""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        field = f"{self.field}: " if self.field else ""
        return f"{where}: {field}{self.message}"


BUG = "Bug"
BUG_HINT = "this is a bug of reconciler: please report it; all else that is declared goes on"


def bug_text(error: Exception) -> str:
    """An exception that nobody expected, in one line, with the last place in reconciler that it came through."""
    frames = ((frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__))
    ours = [f", at {module}:{line}" for module, line in frames if module.startswith("reconciler.")]
    place = ours[-1] if ours else ""
    return f"{one_line(f'unexpected {type(error).__name__}: {error}')}{place}"


class RaisedOnPurpose(Exception):
    """Base of what is raised for a caller further up: `unless_we_fail` lets it pass. An exception of ours that is none
    of these is caught before it comes there."""


def unless_we_fail(act: Callable[[], T], otherwise: Callable[[str], U]) -> T | U:
    """What `act` gives; for a mistake of ours in it what `otherwise` gives, which gets it in words. What is raised on
    purpose passes, and so does what the machine refuses."""
    try:
        return act()
    except (RaisedOnPurpose, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a machine may stop for none of them
        return otherwise(bug_text(error))


class InputRefused(Exception):
    """Why a text, a path or a file of an input is not used: a Problem that lacks its place. It never leaves the reader
    of that input. `line` as in Problem."""

    def __init__(self, code: str, message: str, hint: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.code, self.hint, self.line = code, hint, line


class ReconcilerError(RaisedOnPurpose):
    """Base of every error that a person is told of. `code` is stable: the name of its class, where that gives no other.
    `hint` says what to do next."""

    code = "Error"

    def __init_subclass__(cls) -> None:
        cls.code = cls.__dict__.get("code", cls.__name__)

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code or self.code


class UsageError(ReconcilerError):
    """The command line is wrong: exit 64."""

    code = "Usage"


class ManifestsInvalid(ReconcilerError):
    """One or more manifests are wrong: exit 1."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(f"{count_of(len(problems), 'problem')} in the manifests")
        self.problems = problems


class LockHeld(ReconcilerError):
    """Another process works on this root: exit 11."""


class PermanentError(ReconcilerError):
    """It will fail again until its input changes: exit 1 or 3."""

    code = "Permanent"


class ConversionFailed(PermanentError):
    """The converter failed, lied, or ran out of time."""


class RehearsalFailed(PermanentError):
    """The candidate does not load or answer in the real runtime."""


class GateFailed(PermanentError):
    """The candidate was measured, and a gate rejects the numbers."""


class CatalogBroken(PermanentError):
    """The back end's catalog is unreadable: nothing is changed, and it is never deleted."""


class TemporaryError(ReconcilerError):
    """It may pass by itself, or is mended by a person without any change to what git declares. `delay`: seconds
    that the other side asks to wait before the next try."""

    code = "Temporary"

    def __init__(self, message: str, *, delay: float = 0.0, hint: str = "", code: str = "") -> None:
        super().__init__(message, hint=hint, code=code)
        self.delay = delay


class HostRefused(TemporaryError):
    """The system refused a call (see `refused`): DiskFailing, DiskReadOnly, AccessDenied, OutOfResources."""


class DiskFull(HostRefused): ...


class RuntimeUnavailable(TemporaryError):
    """The library or the lock of what serves did not answer in time."""


class ConverterLost(TemporaryError):
    """The converter was killed, died, or its tools are not installed."""


class RegistryFailed(TemporaryError):
    """A registry, or this machine's account there: RegistryUnreachable, RegistryBusy, RegistryDenied, RegistryLacks,
    RegistryRefused, RegistryCredentials, RegistryCertificates; DigestMismatch and ArtifactRefused for what it holds.
    All of them are mended without any change to what git declares."""


class LfsFailed(RegistryFailed):
    """A server of Git LFS, or this machine's account there: LfsUnreachable, LfsBusy, LfsDenied, LfsLacks, LfsRefused,
    LfsUnsupported; DigestMismatch for what it holds; FetchFailed for the mirror. Mended like those of a registry."""


class Disturbed(TemporaryError):
    """The machine or the source changed meanwhile: the next look plans anew."""


class Cancelled(TemporaryError):
    """It is no longer wanted; nothing is wrong with the model."""


class Paused(Cancelled):
    """It may not go on now, and will when it may; what has come is kept."""


_FULL_HINT = "free some space, or choose another file system with --root; what is served stays as it is"
_FAILING_HINT = "look into the system's log: the disk or its cable may be dying; what is served stays as it is"
_READ_ONLY_HINT = "mount it for writing again: a system that finds errors on a disk makes it read-only"
_ACCESS_HINT = "`reconciler doctor` shows who owns the files"
_OPEN_HINT = "another program has it open: close that one; the next pass tries again"
_OPEN_ELSEWHERE = (32, 33)  # Windows' numbers of a file that another program holds, all of it or a part
_RESOURCES_HINT = "something on this machine takes all of it; `ulimit -a` shows the limits of a process"
_REFUSALS = (
    (("ENOSPC", "EDQUOT"), "DiskFull", _FULL_HINT),
    (("EIO", "EUCLEAN", "ESTALE", "ENXIO", "ENODEV"), "DiskFailing", _FAILING_HINT),
    (("EROFS",), "DiskReadOnly", _READ_ONLY_HINT),
    (("EACCES", "EPERM"), "AccessDenied", _ACCESS_HINT),
    (("EMFILE", "ENFILE", "ENOMEM", "EAGAIN"), "OutOfResources", _RESOURCES_HINT),
)


def refused(error: OSError) -> HostRefused | None:
    """What the system refused, in words and with a stable code; None for what only a wrong program gets."""
    for names, code, hint in _REFUSALS:
        if error.errno in {getattr(errno, name, None) for name in names} - {None}:
            where = f"{error.filename}: " if error.filename else ""
            message = where + (error.strerror or str(error))
            kind = DiskFull if code == DiskFull.code else HostRefused
            held = getattr(error, "winerror", None) in _OPEN_ELSEWHERE
            return kind(message, hint=_OPEN_HINT if held else hint, code=code)
    return None
