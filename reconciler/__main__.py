"""`reconciler` and `python -m reconciler`."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO


class Lossy:
    """A stream whose reader or whose disk may fail: then lines are lost, and the work that they tell of goes on. A
    daemon whose log fills the disk must be there to free it."""

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
    """Ends the process without taking the interpreter apart: whoever opened something has closed it by now, and the
    teardown of what a plan loads costs 10 ms."""
    _open_what_is_closed()
    sys.stderr = Lossy(sys.stderr)
    try:
        from reconciler.cli.main import main as run

        code = run()
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        code = 130
    except OSError:  # of what is left in stdout; the reader of a pipe may be gone
        code = 1
    os._exit(code)


def _open_what_is_closed() -> None:
    """Started without one of the three streams, the first file that we open would get its number, and be written to by
    whoever prints."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for the life of the process


if __name__ == "__main__":
    main()
