"""A place that reports travel by: a folder, a git branch or an OCI registry. All three keep tests/machine_reports'
contract: what was put last under a name is found whole, with its signature; one entry that cannot be read harms no
other; what is not ours in the place is left alone.

Marks are names in the place that one listing finds: `refused-<release>-<machine>` says whose report to read, so that no
refusal is missed among thousands of machines. A mark itself decides nothing, and anybody may have put it there.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from reconciler.domain.digest import of_bytes
from reconciler.domain.errors import TemporaryError

LONGEST_ENTRY = 4 << 20  # bytes of whatever is read: a receipt is a whole inventory
LONGEST_SIGNATURE = 16 << 10
MOST_ENTRIES = 100_000
MARK = "refused-"
LONGEST_MARK = 120  # characters: a tag may have 128
_OF_RELEASE = 12  # hex digits: two releases that begin alike only cost a look at a report


def refusal_mark(release: str, entry: str) -> str:
    """How the machine whose reports are called `entry` says that it refuses a release, which is a digest."""
    name = f"{MARK}{release.removeprefix('sha256:')[:_OF_RELEASE]}-{entry}"
    return name if len(name) <= LONGEST_MARK else f"{name[: LONGEST_MARK - 13]}-{of_bytes(name.encode())[7:19]}"


def all_marks(found: Iterable[str], place: str) -> frozenset[str]:
    """Those among the names of a place. Raises TemporaryError where there are too many to be read whole: then nobody
    knows what was refused."""
    marks: set[str] = set()
    for number, name in enumerate(found):
        if number >= MOST_ENTRIES:
            message = f"{place} holds more than {MOST_ENTRIES:,} names"
            raise TemporaryError(message, hint="reports go best into a place of their own", code="ReportsTooMany")
        if name.startswith(MARK):
            marks.add(name)
    return frozenset(marks)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A report in a place. `entry` is its name there, without an ending. `signature` is None where there is none. `why`
    says why it could not be read; then there is no data."""

    entry: str
    data: bytes = b""
    signature: bytes | None = None
    why: str = ""


class ReportPlace(Protocol):
    """`name` is the place for people. Errors are ReconcilerErrors: a TemporaryError where trying again may help."""

    name: str

    def put(self, one: Sent) -> None: ...

    def each(self) -> Iterator[Sent]: ...

    def some(self, entries: Iterable[str]) -> Iterator[Sent]:
        """Those of these names that are there."""
        ...

    def mark(self, marks: Iterable[str]) -> None:
        """Put them there. Call it after the report that they lead to."""
        ...

    def unmark(self, marks: Iterable[str]) -> None:
        """Remove them, as far as the place can: one that stays is harmless."""
        ...

    def marks(self) -> Collection[str]:
        """All, by one listing. Raises TemporaryError where that cannot be whole."""
        ...

    def close(self) -> None: ...
