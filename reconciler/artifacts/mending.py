"""Whole bytes for a damaged blob: from a served file that holds the same, or, for a small one, by turning back the bit
that rotted. Reads only; `ArtifactStore.mend` writes. What neither can give has to be converted again."""

from __future__ import annotations

import os

from reconciler.core.one_bit import LARGEST, recovered
from reconciler.core.value import value
from reconciler.host.reading import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.host.stamps import StampBook

    Twins = Mapping[str, Iterable[str]]


@value
class Whole:
    """A file with the right bytes, or these themselves."""

    path: str = ""
    data: bytes = b""


def whole_bytes(digest: str, blob: str, twins: Twins, stamps: StampBook) -> Whole | None:
    """`twins` are files by the digest that they should have."""
    for path in twins.get(digest, ()):
        if _has(path, digest, stamps):
            return Whole(path=path)
    try:
        rotten = read_whole(blob, LARGEST)
    except OSError:
        return None
    data = recovered(rotten, digest)
    return None if data is None else Whole(data=data)


def _has(path: str, digest: str, stamps: StampBook) -> bool:
    try:
        return os.path.isfile(path) and stamps.digest(path) == digest
    except OSError:
        return False
