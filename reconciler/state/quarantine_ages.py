"""How long each thing has been in quarantine, on disk. A damaged document counts as none: everything in quarantine is
then new again, and goes later, which is safe."""

from dataclasses import replace

from reconciler.domain.layout import Layout
from reconciler.domain.quarantine import Ages, is_ours
from reconciler.state.documents import RecordCodec, Stored

_CODEC = RecordCodec(Ages)


def stored(layout: Layout) -> Stored[Ages]:
    return Stored(layout.at("records", "quarantine.json"), _CODEC, Ages())


def read_ages(layout: Layout) -> Ages:
    held = stored(layout).read()
    return replace(held, seconds={name: age for name, age in held.seconds.items() if is_ours(name)})


def write_ages(layout: Layout, ages: Ages) -> None:
    stored(layout).write(ages)
