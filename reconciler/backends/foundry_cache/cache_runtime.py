"""CacheRuntime: the ServingRuntime of Foundry Local 0.5 to 1.x on one cache. Names are folders (dropped.py), so nothing
runs to register one.

What measures and answers is a child process: with `sdk`, a folder with foundry-local-sdk 1.x in it, that runtime itself
(worker.py); without it our own Foundry Local 2.x, on a private catalog.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from hashlib import sha256
from typing import Any

from reconciler.backends.foundry.foundry import CONFINED, Foundry, OnEvent
from reconciler.backends.foundry_cache import dropped
from reconciler.domain.errors import PermanentError, ReconcilerError, RuntimeUnavailable
from reconciler.domain.observed import TASK, Registration
from reconciler.host import durable
from reconciler.host.child import Child
from reconciler.host.environment import private_environment

SDK = "RECONCILER_FOUNDRY_SDK"  # in the child's environment: the folder of its packages
INSTALL = "`sdk` names a folder that `pip install --target FOLDER foundry-local-sdk==1.2.4` filled, with this Python"


@dataclass(eq=False)
class CacheRuntime(Foundry):
    """`is_private`: the cache is our own and thrown away, so its files are links."""

    _: KW_ONLY
    sdk: str = ""
    is_private: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._swept = False
        self._named: set[str] = set()  # in the private catalog

    def register(self, path: str, identity: str, properties: Mapping[str, str]) -> None:
        with self._changing() as beside:
            dropped.drop(path, identity, properties, self.cache_dir, beside, self._share)
            dropped.make_readable_offline(self.cache_dir)
        entry = self._dropped(identity)
        if entry is None or entry.path != path or entry.damage:
            raise PermanentError(f"{identity} is not in the cache as it was put there", code="NotRegistered")

    def unregister(self, identity: str) -> None:
        if self._child is not None:  # it lets go of the files; whether it can says nothing of the folder
            with contextlib.suppress(ReconcilerError):
                self._call("unload" if self.sdk else "unregister", {"id": identity}, self.limits.answer)
            self._named.discard(identity)
        with self._changing() as beside:
            dropped.take_away(identity, self.cache_dir, beside, self._remove)
        if dropped.mark_in(self.cache_dir, identity) is not None:
            raise PermanentError(f"{identity} is still in the cache", code="NotUnregistered")

    def list(self, properties: Sequence[str] = ()) -> tuple[Registration, ...]:
        """With `sdk` what the runtime itself lists, else what it would find."""
        found = {one.id: one for one in dropped.found_in(self.cache_dir)}
        if self.sdk:
            listed = self._model_call("list", {}, self.limits.catalog)["ids"]
            found = {identity: found[identity] for identity in listed if identity in found}
        return tuple(found.values())

    def _new_child(self) -> Child:
        if not self.sdk:
            return super()._new_child()
        confined = {CONFINED: "1"} if self.confined else {}
        return Child(
            module="reconciler.backends.foundry_cache.worker",
            environment=private_environment(self.scratch, **confined, **{SDK: self.sdk}),
            log=self.log,
            directory=self.scratch,
        )

    @property
    def _catalog_of_child(self) -> str:
        return self.cache_dir if self.sdk else os.path.join(self.scratch, "catalog")

    def _model_call(
        self, verb: str, parameters: dict[str, Any], timeout: float, on_event: OnEvent = lambda event: None
    ) -> dict[str, Any]:
        if verb == "load" and not self.sdk:
            self._name_privately(parameters["id"])
        return super()._model_call(verb, parameters, timeout, on_event)

    def _name_privately(self, identity: str) -> None:
        """In the catalog that our own runtime has here: it finds nothing by searching."""
        if identity in self._named:
            return
        entry = self._dropped(identity)
        if entry is None:
            raise PermanentError(f"model not found: {identity}", code="NotRegistered")
        with contextlib.suppress(PermanentError):  # left by another process, and of another folder
            super()._model_call("unregister", {"id": identity}, self.limits.catalog)
        task = {name: text for name, text in entry.properties.items() if name == TASK}
        named = {"id": identity, "path": entry.path, "properties": task}
        super()._model_call("register", named, self.limits.catalog)
        self._named.add(identity)

    def close(self) -> None:
        self._named.clear()
        super().close()

    def _call(
        self, verb: str, parameters: dict[str, Any], timeout: float, on_event: OnEvent = lambda event: None
    ) -> dict[str, Any]:
        try:
            return super()._call(verb, parameters, timeout, on_event)
        except RuntimeUnavailable as error:
            if not self.sdk or error.code != "RuntimeMissing":
                raise
            raise RuntimeUnavailable(f"{self.sdk}: {error}", code=error.code, hint=INSTALL) from None

    def _dropped(self, identity: str) -> Registration | None:
        return next((one for one in dropped.found_in(self.cache_dir) if one.id == identity), None)

    @property
    def _share(self) -> Callable[[str, str], str]:
        return _linked if self.is_private else self.stamps.relink

    @property
    def _remove(self) -> Callable[[str], None]:
        return durable.remove_file if self.is_private else self.stamps.remove

    @contextlib.contextmanager
    def _changing(self) -> Iterator[str]:
        """The folder beside the cache, swept of what a killed process left. What the system refuses is about the
        cache, never about the model."""
        try:
            durable.make_folder(self.cache_dir)
            beside = beside_of(self.cache_dir, self.scratch)
            if not self._swept:
                durable.empty(beside)
                self._swept = True
            yield beside
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise _other_disk(self.cache_dir) from None
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
                raise
            raise RuntimeUnavailable(
                f"{error.filename or self.cache_dir}: {error.strerror}",
                code="CatalogNotWritable",
                hint=f"let this user write {self.cache_dir}, and move away what stands in the way",
            ) from None
        finally:
            self._tidy()

    def _tidy(self) -> None:
        """The folder beside the cache is ours alone, and goes when nothing is in it."""
        for folder in (outside(self.cache_dir, self.scratch), os.path.join(self.cache_dir, dropped.PUBLISHER)):
            for name in (os.path.join(folder, "staging"), folder):
                with contextlib.suppress(OSError):
                    os.rmdir(name)


def beside_of(cache: str, scratch: str) -> str:
    """A folder for what is not whole yet: on the cache's disk, because only there can it be renamed into it, and
    outside the cache, because the runtime finds all that lies in it. Our own scratch if that will do."""
    device = os.stat(cache).st_dev
    for above, folder in ((scratch, scratch), (os.path.dirname(cache), outside(cache, scratch))):
        if os.path.isdir(above) and os.stat(above).st_dev == device:
            return os.path.join(folder, "staging")
    raise _other_disk(cache)


def outside(cache: str, scratch: str) -> str:
    """Of this root alone: several may serve one cache."""
    return f"{cache.rstrip(os.sep)}.reconciler-{sha256(scratch.encode()).hexdigest()[:8]}"


def _other_disk(cache: str) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f"no folder of ours lies on the disk of {cache}, so no folder can be renamed into it",
        code="CatalogNotWritable",
        hint="put the root on that disk, or mount the folder above the cache in its place",
    )


def _linked(source: str, destination: str) -> str:
    os.symlink(source, destination)
    return ""
