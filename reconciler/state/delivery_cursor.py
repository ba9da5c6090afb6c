"""What somebody outside has been told already, one small document for each of them. Apart from the other records: it is
written by the threads that tell, also while a pass works, and a pass sweeps its own folders."""

from __future__ import annotations

import contextlib
import os

from reconciler.domain.errors import HostRefused
from reconciler.domain.layout import Layout
from reconciler.host import durable
from reconciler.host.sealed import Damaged
from reconciler.state import documents
from reconciler.state.documents import Document


class Told:
    """One of them. What cannot be trusted, or is another version's, counts as nothing told."""

    def __init__(self, layout: Layout, name: str) -> None:
        self._folder = layout.at("records", "told")
        self._path = os.path.join(self._folder, name + documents.ENDING)

    def read(self) -> Document | None:
        try:
            held = documents.read(self._path, dict)
        except Damaged:
            return None
        return None if held is None else dict(held)

    def write(self, document: Document) -> None:
        """On a full disk it is only remembered in memory: after a restart something may be told twice."""
        with contextlib.suppress(HostRefused, OSError):
            documents.write(self._path, document)


def sweep(layout: Layout) -> None:
    """What a killed writer left. Before the threads begin."""
    durable.sweep_temporaries(layout.at("records", "told"))
