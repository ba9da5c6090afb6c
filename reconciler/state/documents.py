"""Small sealed JSON documents: read one, replace one. A document is trusted as a whole or not at all. Reading needs no
lock; a writer holds the lock of the folder."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Generic, TypeVar

from reconciler.host import durable
from reconciler.host.codec import Codec, Damaged, Misformed, seal, unseal
from reconciler.host.reading import read_whole

T = TypeVar("T")
Document = dict[str, Any]

FORMAT_VERSION = 1
ENDING = ".json"

# By path, the bytes of a document and its value: a daemon reads hundreds of documents each minute, and few of them
# change. Values are shared, so callers must not change them.
_cache: dict[str, tuple[bytes, Any]] = {}
MOST_CACHED = 5_000


def name_in(folder: str, path: str) -> str:
    """Of a document, the same on every system."""
    return os.path.relpath(path, folder).replace(os.sep, "/")


class RecordCodec(Codec[T]):
    """Ignores unknown top-level fields, so that a record of a later version stays readable after a downgrade."""

    def __init__(self, kind: type[T], names: Callable[[str], str] = str) -> None:
        super().__init__(kind, names)
        self._known = {names(one.name) for one in fields(kind)}  # type: ignore[arg-type]

    def read(self, plain: object) -> T:
        if isinstance(plain, dict):
            plain = {name: held for name, held in plain.items() if name in self._known}
        return super().read(plain)


class Stored(Generic[T]):
    """One document at a path. `missing` is its value where no document can be trusted. `variant` is the one that the
    document must be about, "" for documents of no single variant."""

    def __init__(self, path: str, codec: Codec[T], missing: T, *, variant: str = "") -> None:
        self.path = path
        self._codec = codec
        self._missing = missing
        self._variant = variant

    def read(self, damaged: Callable[[str], object] = lambda path: None) -> T:
        """`damaged` is called with the path of a document that cannot be trusted."""
        try:
            data = read_whole(self.path)
        except FileNotFoundError:
            return self._missing
        except OSError:
            damaged(self.path)
            return self._missing
        if (cached := _cache.get(self.path)) and cached[0] == data:
            value: T = cached[1]
            return value
        try:
            value = self._codec.read(self._document(data))
        except (Damaged, Misformed):
            damaged(self.path)
            return self._missing
        self._keep(data, value)
        return value

    def write(self, value: T) -> None:
        """Writes only what is new: a pass that changes nothing writes nothing."""
        if self._holds(value):
            return
        data = seal({"formatVersion": FORMAT_VERSION, **self._codec.write(value)})
        with contextlib.suppress(OSError):
            if read_whole(self.path) == data:
                return
        durable.make_folder(os.path.dirname(self.path))
        durable.write_file(self.path, data)
        self._keep(data, value)  # read again before the next change: one that lists all models is decoded only once

    def _holds(self, value: T) -> bool:
        """Whether the file is the one that was read or written last, and said the same: then nothing is encoded, which
        for the conditions of all models takes longer than to compare them."""
        data, last = _cache.get(self.path, (b"", None))
        if last is None or last != value:
            return False
        with contextlib.suppress(OSError):
            return read_whole(self.path) == data
        return False

    def _keep(self, data: bytes, value: T) -> None:
        if len(_cache) >= MOST_CACHED:
            _cache.clear()
        _cache[self.path] = data, value

    def _document(self, data: bytes) -> Document:
        document = unseal(data)
        if not isinstance(document, dict) or document.pop("formatVersion", None) != FORMAT_VERSION:
            raise Damaged("its format version is not known here")
        # guard: a record of another variant is not trusted
        if self._variant and document.get("variant") != self._variant:
            raise Damaged(f"it is about {document.get('variant')}")
        return document


def names_in(folder: str) -> list[str]:
    """The names of its documents, without their ending."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(name[: -len(ENDING)] for name in names if name.endswith(ENDING))
