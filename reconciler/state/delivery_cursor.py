"""How far deliveries to the outside have come: one small document for each receiver. They have a folder of their own,
because the threads that deliver write them while a pass works, and a pass sweeps its own folders."""

import contextlib
import os

from reconciler.domain.errors import HostRefused
from reconciler.domain.layout import Layout
from reconciler.host import durable
from reconciler.host.codec import Codec
from reconciler.state.documents import ENDING, Document, Stored

_CODEC: Codec[Document | None] = Codec(dict[str, object])


class DeliveryCursor:
    """The document of one receiver, as plain values. A damaged one, or one of another version, counts as none."""

    def __init__(self, layout: Layout, name: str) -> None:
        self._stored = Stored(os.path.join(_folder(layout), name + ENDING), _CODEC, None)

    def read(self) -> Document | None:
        held = self._stored.read()
        return None if held is None else dict(held)

    def write(self, document: Document) -> None:
        """Where the disk takes no more, the caller alone remembers: after a restart something may be sent twice."""
        with contextlib.suppress(HostRefused, OSError):
            self._stored.write(document)


def sweep(layout: Layout) -> None:
    """Removes what a killed writer left. Call it before the threads begin."""
    durable.sweep_temporaries(_folder(layout))


def _folder(layout: Layout) -> str:
    return layout.at("records", "told")
