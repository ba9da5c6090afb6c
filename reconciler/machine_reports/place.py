"""A place that reports travel by: a folder, a git branch or an OCI registry. All three keep tests/machine_reports'
contract: what was put last under a name is found whole, with its signature; one entry that cannot be read harms no
other; what is not ours in the place is left alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

LONGEST_ENTRY = 4 << 20  # bytes of whatever is read: a receipt is a whole inventory
LONGEST_SIGNATURE = 16 << 10
MOST_ENTRIES = 100_000


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

    def close(self) -> None: ...
