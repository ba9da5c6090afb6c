"""The one process that asks Foundry's catalog, through Foundry Local's SDK: it has the network, and loads no model.

The SDK is a process-wide singleton that is bound to one folder of models, so a process serves the first folder that it
is asked for. Its own state of a download lies there too: the same question in a later process goes on from it.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import Any

from reconciler.domain.errors import InputRefused
from reconciler.host.child_side import Emit, Json, serve
from reconciler.sources.catalog.partial import OWN_FILES, held_in, held_now

ADDRESS = "RECONCILER_CATALOG"  # as catalog.source, whose imports the child can do without
GENAI_CONFIG = "genai_config.json"
MIB = 1 << 20
MOST_FILES = 10_000


class Reached:
    """Passes on how far a download is: each time that the SDK tells of it, which is a sign of life and lets a rate act,
    the most so far. It brings pieces side by side and tells of them in any order.

    What is `here` it tells of file by file, as if it came. Where it throws some of that away, `held` says less than
    `here`: that is passed on first, as a count below the last one, and all beyond it comes. None: `held` cannot say.
    """

    def __init__(self, here: int, held: Callable[[], int | None], on_bytes: Callable[[int], None]) -> None:
        self._held, self._on_bytes = held, on_bytes
        self._here = self._most = here

    def __call__(self, count: int) -> None:
        # guard: what the SDK threw away comes again
        if self._most <= self._here and (left := self._held()) is not None and left < self._here:
            self._here = self._most = left
            self._on_bytes(left)
        # guard: what the SDK tells of late is no download that began anew
        self._most = max(self._most, count)
        self._on_bytes(self._most)


class CatalogWorker:
    """One method per verb; parameters and results as in `catalog.source`."""

    def __init__(self) -> None:
        self._catalog: Any = None

    def newest(self, parameters: Json, emit: Emit) -> Json:
        """The highest version of a name."""
        catalog = self._opened(parameters["folder"])
        listed = [one for alias in catalog.list_models() for one in alias.variants]
        numbers = [one.info.version for one in listed if one.info.name == parameters["name"]]
        if not numbers:
            raise InputRefused("CatalogNotFound", "the catalog lists no such model for this machine's hardware")
        return {"version": str(max(numbers))}

    def fetch(self, parameters: Json, emit: Emit) -> Json:
        identity = f"{parameters['name']}:{parameters['version']}"
        model = self._opened(parameters["folder"]).get_model_variant(identity)
        if model is None:
            raise InputRefused("CatalogNotFound", f"the catalog has no {identity}, or cannot be reached")
        size = parameters["size"] or (model.info.file_size_mb or 1) * MIB
        if not model.is_cached:
            emit.and_wait({"bytes": (here := held_in(parameters["folder"]))})
            held = partial(held_now, parameters["folder"])
            reached = Reached(here, held, lambda count: emit.and_wait({"bytes": count}))
            # The caller waits between two pieces where a rate limits it, and the SDK with it.
            model.download(lambda percent: reached(int(size * percent / 100)))
        return {"folder": _folder_in(os.path.abspath(model.get_path()))}

    def listed(self, parameters: Json, emit: Emit) -> Json:
        """The files directly in the folder, with their digests."""
        with os.scandir(parameters["folder"]) as entries:
            found = [one for one in entries if one.name not in OWN_FILES]
        if len(found) > MOST_FILES:
            raise InputRefused("CatalogInvalid", f"the model has more than {MOST_FILES:,} files")
        return {"files": [_file(one) for one in sorted(found, key=lambda one: one.name) if _is_plain(one)]}

    def _opened(self, folder: str) -> Any:
        from foundry_local_sdk import Configuration, FoundryLocalManager, LogLevel

        if self._catalog is None:
            os.makedirs(folder, exist_ok=True)
            address = os.environ.get(ADDRESS, "")
            FoundryLocalManager.initialize(
                Configuration(
                    app_name="reconciler",
                    app_data_dir=os.path.join(os.environ["HOME"], "app"),
                    logs_dir=os.path.join(os.environ["HOME"], "logs"),
                    model_cache_dir=folder,
                    log_level=LogLevel.ERROR,
                    disable_nonessential_telemetry=True,
                    catalog_urls=[(address, None)] if address else None,
                )
            )
            self._catalog = FoundryLocalManager.instance.catalog
        return self._catalog


def _folder_in(path: str) -> str:
    """Some models lie one folder deeper."""
    with os.scandir(path) as entries:
        inner = sorted(one.path for one in entries if one.is_dir(follow_symlinks=False))
    return next((one for one in (path, *inner) if os.path.isfile(os.path.join(one, GENAI_CONFIG))), path)


def _is_plain(entry: "os.DirEntry[str]") -> bool:
    return stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode)


def _file(entry: "os.DirEntry[str]") -> Json:
    with open(entry.path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": entry.name, "size": entry.stat().st_size, "sha256": digest}


def _answering(handler: Any) -> Any:
    """The handler, with a refusal of the catalog as an answer. The SDK's messages may hold signed addresses: only their
    first words are passed on."""

    def answer(parameters: Json, emit: Emit) -> Json:
        from foundry_local_sdk import FoundryLocalException

        try:
            return dict(handler(parameters, emit))
        except InputRefused as refused:
            return {"refused": {"code": refused.code, "message": str(refused)}}
        except FoundryLocalException as error:
            return {"refused": {"code": "CatalogUnreachable", "message": str(error).partition("?")[0][:200]}}

    return answer


if __name__ == "__main__":
    worker = CatalogWorker()
    serve({verb: _answering(getattr(worker, verb)) for verb in ("newest", "fetch", "listed")})
    os._exit(0)  # not through the SDK's close(), which waits for its own threads
