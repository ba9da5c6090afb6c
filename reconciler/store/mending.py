"""Whole bytes for a damaged blob: from a served file that holds the same, or, for a small one, by turning back the bit
that rotted. Reads only; `ArtifactStore.mend` writes. What neither can give has to be converted again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.host.reading import read_whole
from reconciler.host.stamps import StampBook
from reconciler.store.one_bit import LARGEST, recovered

Twins = Mapping[str, Iterable[str]]


@dataclass(frozen=True, kw_only=True)
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
