"""The last benchmark of this machine as pages show it. For people only: no gate and no plan depends on it."""

import os

from reconciler.domain.layout import Layout
from reconciler.host.codec import Codec
from reconciler.state.documents import ENDING, Document, Stored

_SHOWN: Codec[Document | None] = Codec(dict[str, object])


def benchmark_folder(layout: Layout) -> str:
    """Its own: `reconciler bench` writes it beside a daemon that holds the root's lock."""
    return layout.at("records", "benchmark")


def last_benchmark(layout: Layout) -> Stored[Document | None]:
    return Stored(os.path.join(benchmark_folder(layout), f"last{ENDING}"), _SHOWN, None)
