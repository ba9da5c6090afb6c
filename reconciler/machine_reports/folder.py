"""Reports in a folder, such as a share that all machines reach: `<machine>.json`, and `<machine>.json.sigstore.json`
beside it. Receipts that people put there are read as well."""

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator

from reconciler.domain.errors import TemporaryError
from reconciler.fleet.inventory_form import SIGNATURE, is_inventory
from reconciler.host import durable
from reconciler.host.reading import read_whole
from reconciler.machine_reports.place import LONGEST_ENTRY, LONGEST_SIGNATURE, MOST_ENTRIES, Sent, all_marks
from reconciler.machine_reports.statement import is_about

ENDING = ".json"
MARK_ENDING = ".txt"
MARK_TEXT = b"A machine refuses a release: its report says which and why.\n"
LOOKS, PAUSE = 3, 0.05  # while a writer replaces one of the two files after the other


class ReportFolder:
    """Made by the first machine that writes; its parent has to be there, because a share that is not mounted is no
    folder to fill."""

    def __init__(self, folder: str) -> None:
        self.name = self._folder = folder

    def put(self, one: Sent) -> None:
        self._mounted()
        path = os.path.join(self._folder, one.entry + ENDING)
        try:
            durable.make_folder(self._folder)
            if one.signature is None and os.path.lexists(path + SIGNATURE):
                durable.remove_file(path + SIGNATURE)  # of ours, from the time when there was a key
            if one.signature is not None:
                durable.write_file(path + SIGNATURE, one.signature)
            durable.write_file(path, one.data)
        except OSError as error:
            raise TemporaryError(f"{path}: {error.strerror}", code="ReportsUnreachable") from None

    def each(self) -> Iterator[Sent]:
        for name in sorted(filter(is_inventory, self._listed()))[:MOST_ENTRIES]:
            yield self._settled(name)

    def some(self, entries: Iterable[str]) -> Iterator[Sent]:
        for name in (entry + ENDING for entry in sorted(set(entries))):
            if os.path.lexists(os.path.join(self._folder, name)):
                yield self._settled(name)

    def mark(self, marks: Iterable[str]) -> None:
        for path in map(self._mark, marks):
            self._mounted()
            try:
                durable.make_folder(self._folder)
                durable.write_file(path, MARK_TEXT)
            except OSError as error:
                raise TemporaryError(f"{path}: {error.strerror}", code="ReportsUnreachable") from None

    def unmark(self, marks: Iterable[str]) -> None:
        for path in map(self._mark, marks):
            with contextlib.suppress(OSError):
                durable.remove_file(path)

    def marks(self) -> Collection[str]:
        names = (name.removesuffix(MARK_ENDING) for name in self._listed() if name.endswith(MARK_ENDING))
        return all_marks(names, self.name)

    def close(self) -> None:
        """Nothing is held."""

    def _mark(self, name: str) -> str:
        return os.path.join(self._folder, name + MARK_ENDING)

    def _mounted(self) -> None:
        if not os.path.isdir(os.path.dirname(os.path.abspath(self._folder))):
            message = f"{self._folder}: there is no folder above it"
            raise TemporaryError(message, hint="is the share mounted?", code="ReportsUnreachable")

    def _listed(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except OSError as error:
            message = f"{self._folder}: {error.strerror}"
            raise TemporaryError(message, hint="name a folder of reports", code="ReportsUnreachable") from None

    def _settled(self, name: str) -> Sent:
        """A writer replaces two files, one after the other: where they do not fit together, it is looked at again."""
        found = self._read(name)
        for _ in range(LOOKS):
            if found.signature is None or is_about(found.data, found.signature):
                break
            time.sleep(PAUSE)
            found = self._read(name)
        return found

    def _read(self, name: str) -> Sent:
        entry, path = name.removesuffix(ENDING), os.path.join(self._folder, name)
        try:
            if os.path.islink(path):
                return Sent(entry=entry, why="it is a symbolic link")
            data = read_whole(path, LONGEST_ENTRY)
        except OSError as error:
            return Sent(entry=entry, why=error.strerror or "it cannot be read")
        try:
            return Sent(entry=entry, data=data, signature=read_whole(path + SIGNATURE, LONGEST_SIGNATURE))
        except FileNotFoundError:
            return Sent(entry=entry, data=data)
        except OSError as error:
            return Sent(entry=entry, why=f"its signature: {error.strerror}")
