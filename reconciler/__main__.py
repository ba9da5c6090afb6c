"""The entry point of `reconciler` and `python -m reconciler`: protects the standard streams, runs the command line, and
exits with its code."""

import os
import sys
from typing import Any, TextIO

from reconciler.cli.main import main as run
from reconciler.host.system import settle_streams


class Lossy:
    """A stream whose reader or disk may fail: lines are then lost, and the work goes on. A daemon whose log fills the
    disk must live to free it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def main() -> None:
    # pydantic searches all installed packages for plug-ins; what is installed beside us is not to read our documents.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _open_what_is_closed()
    settle_streams()
    sys.stderr = Lossy(sys.stderr)
    try:
        code = run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except OSError:  # stdout could not take the rest: the reader of a pipe is gone, or the disk is full
        code = 1
        _drop_output()
    sys.exit(code)


def _drop_output() -> None:
    """What is left in stdout's buffer goes nowhere, or the interpreter would complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_what_is_closed() -> None:
    """When the process is started without one of the three streams, the first file that it opens would get that number,
    and every print would go into it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for the life of the process


if __name__ == "__main__":
    main()
