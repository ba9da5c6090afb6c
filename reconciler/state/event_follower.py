"""Follow the log of events as it grows, like `tail -F`: first what is there, then each new line when it is whole.

The log is renamed when it is full. What was still written to the old file is read to its end before the new one is
opened, so no event is lost or told twice. Limit: two such renames between two looks would skip a whole file.
"""

import os
from typing import BinaryIO

from reconciler.state.events import Event, older, parse


class Follower:
    """Each `read` gives what is new since the last one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._torn = b""  # a line whose end has not been written yet

    def first(self) -> list[Event]:
        """Everything that the log still holds."""
        self._open()
        return _whole(_lines_of(older(self._path), unless=self._file)) + self.read()

    def read(self) -> list[Event]:
        found = self._new_lines()
        if not self._is_current():
            found += self._new_lines()  # written between our last look and the rename
            self._open()
            found += self._new_lines()
        return _whole(found)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _new_lines(self) -> list[bytes]:
        if self._file is None:
            return []
        if os.fstat(self._file.fileno()).st_size < self._file.tell():  # somebody emptied it by hand
            self._file.seek(0)
            self._torn = b""
        *lines, self._torn = (self._torn + self._file.read()).split(b"\n")
        return lines

    def _is_current(self) -> bool:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return True  # between a rename and the next event there is none
        return self._file is not None and os.path.samestat(status, os.fstat(self._file.fileno()))

    def _open(self) -> None:
        self.close()
        self._torn = b""
        try:
            self._file = open(self._path, "rb")  # noqa: SIM115 - it stays open while it is followed
        except FileNotFoundError:
            self._file = None


def _lines_of(path: str, *, unless: BinaryIO | None) -> list[bytes]:
    """None if it is the very file that is being followed: it was renamed just now."""
    try:
        with open(path, "rb") as file:
            if unless is not None and os.path.sameopenfile(file.fileno(), unless.fileno()):
                return []
            return file.read().split(b"\n")
    except FileNotFoundError:
        return []


def _whole(lines: list[bytes]) -> list[Event]:
    return [event for event in map(parse, lines) if event is not None]
