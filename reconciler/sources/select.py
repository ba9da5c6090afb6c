"""The kinds of remote sources: for each field of `spec.source` that is one (`manifests.source_schema`), what fetches
from it, and the option that names the file with its token."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from reconciler.domain.sources.locked import CATALOG
from reconciler.sources.catalog.source import Catalog, CatalogAccess
from reconciler.sources.hub.source import Hub, HubAccess
from reconciler.sources.protocol import RemoteSource


@dataclass(frozen=True, kw_only=True)
class RemoteKind:
    """`open` takes the path of the token file ("" for none), a folder for its process alone, and a log file. How else
    it is reached comes from this machine's environment."""

    open: Callable[[str, str, str], RemoteSource]
    token_option: str = ""  # "": it takes none
    token_meaning: str = ""


REMOTES = {
    "huggingface": RemoteKind(
        open=lambda token_file, home, log: Hub(HubAccess.of(os.environ, token_file), home=home, log=log),
        token_option="--hf-token-file",
        token_meaning="file with a token for the Hugging Face hub; or the token itself in HF_TOKEN",
    ),
    CATALOG: RemoteKind(open=lambda _, home, log: Catalog(CatalogAccess.of(os.environ), home=home, log=log)),
}
