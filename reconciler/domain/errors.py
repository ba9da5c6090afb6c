"""What can go wrong, and whether trying again can help.

    ReconcilerError
    ├── UsageError         the command line is wrong                     exit 64
    ├── ManifestsInvalid   one or more manifests are wrong (problems)    exit 1
    ├── LockHeld           another process works on this root            exit 11
    ├── PermanentError     will fail again until its input changes       exit 1 / 3
    │   ├── SourceInvalid      a model folder that cannot be converted
    │   ├── ConversionFailed   the converter failed, lied, or ran out of time
    │   ├── RehearsalFailed    the candidate does not load or answer in the real runtime
    │   ├── GateFailed         the candidate was measured, and a gate rejects the numbers
    │   └── CatalogBroken      Foundry Local's index is unreadable: stop and say so, never delete it
    └── TemporaryError     may pass by itself: try again after `delay` seconds
        ├── HostRefused          the system refused a call: DiskFailing, DiskReadOnly, AccessDenied, OutOfResources
        │   └── DiskFull
        ├── RuntimeUnavailable   Foundry Local's library or lock did not answer in time
        ├── ConverterLost        the converter was killed, died, or its tools are not installed
        ├── Disturbed            the machine or the source changed under our hands: the next look plans anew
        └── Cancelled            it is no longer wanted

A permanent failure is tried once and then remembered (domain.failures) until its input changes. So an error is
permanent
only if its key would change with what mends it: tools that are missing are mended by a person without any change to
what git declares, and count as temporary.

Only the command line turns these into exit codes; nothing below it calls exit().
"""

import errno
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with an input: where, what was expected, what was found, what to do.

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


class InputRefused(Exception):
    """Why a text, a path or a file of an input is not used: a Problem that lacks its place. It never leaves the reader
    of that input. `line` as in Problem."""

    def __init__(self, code: str, message: str, hint: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.code, self.hint, self.line = code, hint, line


class ReconcilerError(Exception):
    """Base of every error we raise on purpose. `code` is stable, `hint` says what to do next."""

    code = "Error"

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if code:
            self.code = code


class UsageError(ReconcilerError):
    code = "Usage"


class ManifestsInvalid(ReconcilerError):
    code = "ManifestsInvalid"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(f"{len(problems)} problem(s) in the manifests")
        self.problems = problems


class LockHeld(ReconcilerError):
    code = "LockHeld"


class PermanentError(ReconcilerError):
    code = "Permanent"


class SourceInvalid(PermanentError):
    code = "SourceInvalid"


class ConversionFailed(PermanentError):
    code = "ConversionFailed"


class RehearsalFailed(PermanentError):
    code = "RehearsalFailed"


class GateFailed(PermanentError):
    code = "GateFailed"


class CatalogBroken(PermanentError):
    code = "CatalogBroken"


class TemporaryError(ReconcilerError):
    code = "Temporary"

    def __init__(self, message: str, *, delay: float = 60.0, hint: str = "", code: str = "") -> None:
        super().__init__(message, hint=hint, code=code)
        self.delay = delay


class HostRefused(TemporaryError):
    """Mended by a person or by time, without any change to what git declares. See `refused`."""

    code = "HostRefused"


class DiskFull(HostRefused):
    code = "DiskFull"


class RuntimeUnavailable(TemporaryError):
    code = "RuntimeUnavailable"


class ConverterLost(TemporaryError):
    code = "ConverterLost"


class Disturbed(TemporaryError):
    code = "Disturbed"


class Throttled(TemporaryError):
    """The other side asks for patience: nothing before `delay` helps."""

    code = "Throttled"


class Cancelled(TemporaryError):
    """It was asked for; nothing is wrong with the model."""

    code = "Cancelled"


_FULL_HINT = "free some space, or choose another file system with --root; what is served stays as it is"
_FAILING_HINT = "look into the system's log: the disk or its cable may be dying; what is served stays as it is"
_READ_ONLY_HINT = "mount it for writing again: a system that finds errors on a disk makes it read-only"
_ACCESS_HINT = "`reconciler doctor` shows who owns the files"
_RESOURCES_HINT = "something on this machine takes all of it; `ulimit -a` shows the limits of a process"
_REFUSALS = (
    (("ENOSPC", "EDQUOT"), "DiskFull", _FULL_HINT),
    (("EIO", "EUCLEAN", "ESTALE", "ENXIO", "ENODEV"), "DiskFailing", _FAILING_HINT),
    (("EROFS",), "DiskReadOnly", _READ_ONLY_HINT),
    (("EACCES", "EPERM"), "AccessDenied", _ACCESS_HINT),
    (("EMFILE", "ENFILE", "ENOMEM", "EAGAIN"), "OutOfResources", _RESOURCES_HINT),
)


def refused(error: OSError) -> HostRefused | None:
    """What the system refused, in words and with a stable code; None for what it says when a program is wrong."""
    for names, code, hint in _REFUSALS:
        if error.errno in {getattr(errno, name, None) for name in names} - {None}:
            where = f"{error.filename}: " if error.filename else ""
            message = where + (error.strerror or str(error))
            kind = DiskFull if code == DiskFull.code else HostRefused
            return kind(message, hint=hint, code=code)
    return None
