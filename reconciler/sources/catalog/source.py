"""Models of Foundry's own catalog: questions and downloads through Foundry Local's SDK in a child process
(`catalog.worker`), the one way in which that catalog is meant to be asked.

The SDK brings a model as a whole, and checks no bytes. So it brings it into a folder of its own beside the files that
are asked for, each of these is then moved out of it, and the caller compares it with the lock. What came of a download
that was cut stays there, and the SDK goes on from it.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.domain.errors import PermanentError, ReconcilerError, TemporaryError, UsageError
from reconciler.domain.machine.bandwidth import PIECE
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.domain.text.escape import one_line
from reconciler.host.child import ChildFailed
from reconciler.host.environment import private_environment
from reconciler.host.network import network_of
from reconciler.sources.catalog.partial import held_in
from reconciler.sources.child_source import LONGEST, ChildSource

ADDRESS = "RECONCILER_CATALOG"  # of another catalog
ENDING = "/asset-gallery/v1.0/models"
SDK_FOLDER = ".foundry"  # beside the files that are asked for
SILENCE = 600.0  # seconds without any progress

_HINTS = {
    "CatalogNotFound": "check name and version: `foundry model list` and Foundry's own pages show what there is",
    "CatalogUnreachable": "check the network, the proxy and RECONCILER_CATALOG; what serves goes on serving",
}


@dataclass(frozen=True)
class CatalogAccess:
    """How this machine reaches the catalog: variables for the child, and the catalog's address ("": Foundry's own)."""

    variables: Mapping[str, str] = field(repr=False)
    address: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "CatalogAccess":
        address = environment.get(ADDRESS, "").strip()
        fits = address.startswith(("https://", "http://")) and address.endswith(ENDING) and "@" not in address
        if address and not (fits and address.isprintable()):
            raise UsageError(f"{ADDRESS}: expected an address that ends in {ENDING}")
        return cls(network_of(environment), address)


class Catalog(ChildSource):
    worker = "reconciler.sources.catalog.worker"
    extra = "foundry"
    lacking = ("ModuleNotFoundError", "ImportError")

    def __init__(self, access: CatalogAccess, *, home: str, log: str, silence: float = SILENCE) -> None:
        address = {ADDRESS: access.address} if access.address else {}
        environment = private_environment(home, **access.variables, **address)
        super().__init__(environment, home=home, log=log, silence=silence)
        self._listed: dict[str, list[dict[str, Any]]] = {}

    def commit(self, source: LockedSource, branch: str = "") -> str:
        """The newest version."""
        return str(
            self._ask("newest", {"name": source.repo, "folder": os.path.join(self._home, SDK_FOLDER)}, source.repo)[
                "version"
            ]
        )

    def tree(self, source: LockedSource) -> list[dict[str, Any]]:
        """The catalog names no digests: the model is brought for them, and what is asked for next is here already."""
        if source.place not in self._listed:
            folder = self._fetched(source, self._home, lambda count: None)
            found = self._ask("listed", {"folder": folder}, str(source), timeout=LONGEST)
            self._listed[source.place] = found["files"]
        return self._listed[source.place]

    def download(
        self, source: LockedSource, file: LockedFile, target: str, on_bytes: Callable[[int], None], piece: int = PIECE
    ) -> None:
        """The first one brings the whole model; `on_bytes` tells of all of it then."""
        if os.path.isdir(os.path.join(self._home, SDK_FOLDER)):  # by `tree`, which is how a source is locked
            beside = self._home
        else:
            beside = os.path.dirname(os.path.abspath(target))
        found = os.path.join(self._fetched(source, beside, on_bytes), file.path)
        if os.path.islink(found) or not os.path.isfile(found):
            message = f"{source}: the catalog's model has no {file.path}, which is locked"
            raise PermanentError(message, hint=_HINTS["CatalogNotFound"], code="DigestMismatch")
        (shutil.copyfile if beside == self._home else os.replace)(found, target)

    def held(self, target: str) -> int:
        """Of the whole model, because the SDK brings it as a whole."""
        return held_in(os.path.join(os.path.dirname(os.path.abspath(target)), SDK_FOLDER))

    def _fetched(self, source: LockedSource, beside: str, on_bytes: Callable[[int], None]) -> str:
        """The folder with its files. Their size is the lock's, 0 where that is being written: the catalog may
        tell of none, or of another."""
        order: dict[str, Any] = {"name": source.repo, "version": source.revision, "size": source.size}
        order["folder"] = os.path.join(beside, SDK_FOLDER)
        return str(self._ask("fetch", order, str(source), on_bytes, LONGEST)["folder"])

    def _failure(self, error: ChildFailed, what: str) -> ReconcilerError:
        return TemporaryError(f"{what}: {one_line(error.message)}", code="FetchFailed")

    def _death(self, error: ReconcilerError, what: str) -> ReconcilerError:
        message = f"{what}: {one_line(str(error))}"
        return TemporaryError(message, hint=_HINTS["CatalogUnreachable"], code="CatalogUnreachable")

    def _refusal(self, refused: dict[str, Any], what: str) -> ReconcilerError:
        code, message = refused["code"], f"{what}: {one_line(refused['message'])}"
        kind = PermanentError if code == "CatalogNotFound" else TemporaryError
        return kind(message, hint=_HINTS.get(code, ""), code=code)
