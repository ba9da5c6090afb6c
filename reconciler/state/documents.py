"""Small sealed JSON documents: read one, replace one, set a damaged one aside. A document is trusted as a
whole or not at all; what could not be trusted is kept beside it for a person to look at."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from reconciler.host import durable
from reconciler.host.reading import read_whole
from reconciler.host.sealed import Damaged, seal, unseal

T = TypeVar("T")
Document = dict[str, Any]

FORMAT_VERSION = 1
ENDING = ".json"


# What a document was understood as, with its very bytes: a daemon reads hundreds of them each minute, and they are what
# they were. Nobody changes what is given out.
_understood: dict[str, tuple[bytes, Any]] = {}
MOST_UNDERSTOOD = 5_000


def read(path: str, form: Callable[[Document], T]) -> T | None:
    """None when there is none. Raises Damaged, also for a version that only another program knows."""
    try:
        data = read_whole(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(str(error)) from None
    known = _understood.get(path)
    if known is not None and known[0] == data:
        understood: T = known[1]
        return understood
    understood = form(_document(data))
    if len(_understood) >= MOST_UNDERSTOOD:
        _understood.clear()
    _understood[path] = data, understood
    return understood


def _document(data: bytes) -> Document:
    document = unseal(data)
    if not isinstance(document, dict) or document.pop("formatVersion", None) != FORMAT_VERSION:
        raise Damaged("its format version is not known here")
    return document


def write(path: str, document: Document) -> None:
    """Only if it says something new: a pass that changes nothing writes nothing."""
    data = _sealed(document)
    if not _holds(path, data):
        durable.make_folder(os.path.dirname(path))
        durable.write_file(path, data)


def holds(path: str, document: Document) -> bool:
    """Is it exactly this that stands there?"""
    return _holds(path, _sealed(document))


def set_aside(path: str) -> None:
    number = 1
    while os.path.lexists(f"{path}.damaged-{number}"):
        number += 1
    durable.rename(path, f"{path}.damaged-{number}")


def names_in(folder: str) -> list[str]:
    """Of its documents, without their ending."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(name[: -len(ENDING)] for name in names if name.endswith(ENDING))


def _sealed(document: Document) -> bytes:
    return seal({"formatVersion": FORMAT_VERSION, **document})


def _holds(path: str, data: bytes) -> bool:
    try:
        return read_whole(path) == data
    except OSError:
        return False
