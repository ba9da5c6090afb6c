"""The delivery position of one notification sink, as a small document. These have a folder of their own, because
delivery threads write them while a pass works, and a pass sweeps its folders."""

import contextlib
import os

from reconciler.domain.errors import HostRefused
from reconciler.domain.layout import Layout
from reconciler.host import durable
from reconciler.host.codec import Codec
from reconciler.state.documents import ENDING, Document, Stored

_CODEC: Codec[Document | None] = Codec(dict[str, object])


class DeliveryCursor:
    """Plain values. A damaged document, or one of another version, counts as none."""

    def __init__(self, layout: Layout, name: str) -> None:
        self._stored = Stored(os.path.join(_folder(layout), name + ENDING), _CODEC, None)

    def read(self) -> Document | None:
        held = self._stored.read()
        return None if held is None else dict(held)

    def write(self, document: Document) -> None:
        """When the disk refuses, only the caller knows the position: after a restart something may be sent twice."""
        with contextlib.suppress(HostRefused, OSError):
            self._stored.write(document)


def sweep(layout: Layout) -> None:
    """Remove what a killed writer left. Call it before the threads begin."""
    durable.sweep_temporaries(_folder(layout))


def _folder(layout: Layout) -> str:
    return layout.at("records", "told")
