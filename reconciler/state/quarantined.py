"""How old is what lies in quarantine, on disk. What cannot be trusted is forgotten, and everything in there is new
again: later is safe."""

from __future__ import annotations

from reconciler.domain.layout import Layout
from reconciler.domain.quarantine import Ages, is_ours
from reconciler.host.sealed import Damaged
from reconciler.state import documents
from reconciler.state.documents import Document

NAME = "quarantine.json"


def read_ages(layout: Layout) -> Ages:
    try:
        return documents.read(_path(layout), read_form) or Ages()
    except Damaged:
        return Ages()


def write_ages(layout: Layout, ages: Ages) -> None:
    documents.write(_path(layout), {"looked": ages.looked, "seconds": ages.seconds})


def read_form(document: Document) -> Ages:
    try:
        seconds = {str(name): float(age) for name, age in document["seconds"].items() if is_ours(name)}
        return Ages(looked=float(document["looked"]), seconds=seconds)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise Damaged("it is not in the form of ages") from None


def _path(layout: Layout) -> str:
    return layout.at("records", NAME)
