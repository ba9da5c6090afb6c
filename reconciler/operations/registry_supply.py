"""The registries that this machine may pull from, as an export asks them: for artifacts by build key, for what is
attached to them, and for their blobs. Where one does not answer, the others are asked, and it is reported."""

import contextlib
import json
from collections.abc import Callable, Sequence

from reconciler.domain.errors import ReconcilerError, RegistryFailed
from reconciler.domain.machine.registries import RegistrySettings
from reconciler.registry import archive, artifact
from reconciler.registry.archive import Attached, Found
from reconciler.registry.client import NOT_WHOLE, RegistryClient
from reconciler.registry.opening import OpenRegistry, open_registry
from reconciler.registry.transfer import ArtifactPull, find
from reconciler.store.modelpack import NotAnArtifact

MOST_ATTACHED = 64  # to one artifact
DEPTH = 2  # a signature of the numbers of an artifact
_WRONG_FORM = (ValueError, LookupError, TypeError, AttributeError)


class RegistrySupply(contextlib.AbstractContextManager["RegistrySupply"]):
    """A context manager: what was opened stays open until it ends. `warn` gets what could not be asked."""

    def __init__(self, registries: Sequence[RegistrySettings], warn: Callable[[str], None]) -> None:
        self._registries, self._warn = registries, warn
        self._stack = contextlib.ExitStack()
        self._opened: dict[str, OpenRegistry] = {}

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def find(self, build_key: str) -> Found | None:
        """In the first registry that has it."""
        for settings in self._registries:
            try:
                found = self._find(settings, build_key)
            except (ReconcilerError, NotAnArtifact) as error:
                self._warn(f"{settings.address}: {error}")
                continue
            if found is not None:
                return found
        return None

    def attached(self, digest: str) -> tuple[Attached, ...]:
        """In any of the registries."""
        found = [one for settings in self._registries for one in self._attached(settings, digest)]
        return tuple({one.digest: one for one in found}.values())

    def pull(self, found: Found, folder: str, holds: Callable[[str], bool]) -> None:
        """Its blobs into a folder, but for those that are held."""
        settings = next(one for one in self._registries if str(one.address) == found.place)
        one = found.packed.artifact
        ArtifactPull(self._open(settings).places, one.digest, folder, build_key=one.build_key, holds=holds).run()

    def _find(self, settings: RegistrySettings, build_key: str) -> Found | None:
        client = self._open(settings).registry
        if (digest := find(client, build_key)) is None:
            return None
        manifest = client.manifest(digest)
        packed = artifact.read(digest, manifest)
        if packed.artifact.build_key != build_key:
            raise NotAnArtifact(f"{digest} was built by another key than its tag says")
        attached = tuple(self._attached(settings, digest))
        return Found(packed=packed, manifest=manifest, place=str(settings.address), attached=attached)

    def _attached(self, settings: RegistrySettings, digest: str) -> list[Attached]:
        """What is attached to an artifact, and to that in turn, as it is."""
        found: list[Attached] = []
        subjects = [digest]
        try:
            client = self._open(settings).registry
            for _ in range(DEPTH):
                listed = [(one["digest"], subject) for subject in subjects for one in client.referrers(subject)]
                read = [self._one(client, name, subject) for name, subject in listed[:MOST_ATTACHED]]
                whole = [one for one in read if one is not None]
                found, subjects = [*found, *whole], [one.digest for one in whole]
        except ReconcilerError as error:
            self._warn(f"{settings.address}: what is attached to {digest} could not be read: {error}")
        return found

    def _one(self, client: RegistryClient, digest: str, subject: str) -> Attached | None:
        """Anybody who may push may attach what is none: that keeps back no other."""
        try:
            return _read(client, digest, subject)
        except _WRONG_FORM as error:
            reason = f"it has another form: {error}"
        except RegistryFailed as error:
            if error.code not in NOT_WHOLE:
                raise
            reason = str(error)
        self._warn(f"{client.session.address}: {digest}, attached to {subject}, is left out: {reason}")
        return None

    def _open(self, settings: RegistrySettings) -> OpenRegistry:
        name = str(settings.address)
        if name not in self._opened:
            self._opened[name] = self._stack.enter_context(open_registry(settings))
        return self._opened[name]


def _read(client: RegistryClient, digest: str, subject: str) -> Attached:
    data = client.manifest(digest)
    document = json.loads(data)
    parts = archive.parts_of(document)
    blobs = {part: client.small_blob(part, size) for part, size in parts.items()}
    return Attached(digest=digest, subject=subject, kind=archive.kind_of(document), data=data, blobs=blobs)
