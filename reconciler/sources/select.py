"""What implements `sources.protocol` on this machine: the Hugging Face hub is the only remote source there is."""

import os

from reconciler.domain.layout import Layout
from reconciler.sources.hub.access import HubAccess
from reconciler.sources.hub.cache import HubCache
from reconciler.sources.hub.source import Hub
from reconciler.sources.protocol import RemoteSource, SourceCache


def source_cache(layout: Layout) -> SourceCache:
    return HubCache(layout)


def remote_source(token_file: str, *, home: str, log: str) -> RemoteSource:
    """How it is reached comes from this machine's environment. `home` is a folder for its process alone."""
    return Hub(HubAccess.of(os.environ, token_file), home=home, log=log)
