"""The kinds of remote sources: for each field of `spec.source` that is one (`manifests.source_schema`), what fetches
from it, and the option that names the file with its token."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from reconciler.domain.machine.registries import RegistrySettings
from reconciler.domain.sources.locked import CATALOG, GIT, OCI
from reconciler.sources.catalog.source import Catalog, CatalogAccess
from reconciler.sources.git.runner import read_token
from reconciler.sources.hub.source import Hub, HubAccess
from reconciler.sources.protocol import RemoteSource


@dataclass(frozen=True, kw_only=True)
class RemoteAccess:
    """`token_file` is "" for none; `home` a folder for its process alone, `log` a file; `registries` are those of the
    machine's configuration, `mirror` is the git directory of the repository that it follows."""

    token_file: str
    home: str
    log: str
    registries: tuple[RegistrySettings, ...] = ()
    mirror: str = ""


@dataclass(frozen=True, kw_only=True)
class RemoteKind:
    """`open` takes what is known of the way there. How else it is reached comes from this machine's environment."""

    open: Callable[[RemoteAccess], RemoteSource]
    token_option: str = ""  # "": it takes none
    token_meaning: str = ""


def _oci(to: RemoteAccess) -> RemoteSource:
    from reconciler.registry.model_source import OciModels  # its library loads where a registry is asked

    return OciModels(to.registries, to.token_file)


def _git(to: RemoteAccess) -> RemoteSource:
    from reconciler.registry.lfs_source import LfsModels

    return LfsModels(to.mirror, read_token(to.token_file), os.environ.get("GIT_SSL_CAINFO", ""))


REMOTES = {
    "huggingface": RemoteKind(
        open=lambda to: Hub(HubAccess.of(os.environ, to.token_file), home=to.home, log=to.log),
        token_option="--hf-token-file",
        token_meaning="file with a token for the Hugging Face hub; or the token itself in HF_TOKEN",
    ),
    CATALOG: RemoteKind(open=lambda to: Catalog(CatalogAccess.of(os.environ), home=to.home, log=to.log)),
    GIT: RemoteKind(open=_git),  # its token is that of the followed repository (cli.options)
    OCI: RemoteKind(
        open=_oci,
        token_option="--registry-auth-file",
        token_meaning="file with passwords of registries that models come from, as `docker login` writes it",
    ),
}
