"""Wakes the loop when files change: manifests, the model folders that they name, served folders, suspensions, Foundry's
index. It only wakes: what changed is for the pass to find out, and what no file system reports is found at the
interval.

watchfiles waits in Rust and looks at its bell four times a second; two such threads cost under a thousandth of a core.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from watchfiles._rust_notify import RustNotify

from reconciler.backends.select import parts_of
from reconciler.daemon.wake import DECLARATIONS, MACHINE, Wake
from reconciler.engine import log
from reconciler.engine.machine import Machine
from reconciler.manifests.parsed import Parsed

STEP = 250  # milliseconds without another change, then the loop is woken
DEBOUNCE = 1000  # milliseconds; it is woken by then, however much changes
# What editors and git leave beside manifests.
PASSING = (".swp", ".swx", ".swpx", "~", ".tmp", ".lock")


class Watcher:
    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._watched: object = None
        self._bell = threading.Event()
        self._failed = ""

    def watch(self, machine: Machine, parsed: Parsed | None, folder: str) -> bool:
        """From now on what these name; `folder` holds the manifests, "" when they come from a repository. True when the
        folders are others than before: then a change may have fallen between. A folder that is not there is watched
        from the next call on at which it is."""
        groups = _Groups(machine, parsed, folder)
        if groups.identity == self._watched:
            return False
        self.close()
        self._watched, self._bell = groups.identity, threading.Event()
        for paths, recursive, reason_of in groups.threads():
            self._begin(paths, recursive, reason_of)
        return True

    def close(self) -> None:
        self._bell.set()

    def _begin(self, paths: list[str], recursive: bool, reason_of: Callable[[str], str | None]) -> None:
        """Made here and not in the thread, so that what changes after `watch` is seen. watchfiles' own generator makes
        it when it is first asked."""
        try:
            notify = RustNotify(paths, False, False, 0, recursive, True)
        except Exception as error:  # noqa: BLE001 - without watching there is still the interval
            self._complain(str(error))
            return
        run = partial(self._follow, notify, reason_of, self._bell)
        threading.Thread(target=run, name="watch", daemon=True).start()

    def _follow(self, notify: RustNotify, reason_of: Callable[[str], str | None], bell: threading.Event) -> None:
        with notify:
            while not bell.is_set():
                try:
                    changes = notify.watch(DEBOUNCE, STEP, 0, bell)
                except Exception as error:  # noqa: BLE001 - as above
                    self._complain(str(error))
                    return
                if not isinstance(changes, str):  # `stop`, `signal` or `timeout`
                    for reason in {reason_of(path) for _, path in changes} - {None}:
                        self._wake.wake(str(reason))

    def _complain(self, message: str) -> None:
        if message != self._failed:
            self._failed = message
            log.warning("watch.failed", message=message, hint="changes are seen at the interval only")


class _Groups:
    """The folders that are there now. Their inodes belong to the question whether anything changed: a folder that was
    made anew is watched anew."""

    def __init__(self, machine: Machine, parsed: Parsed | None, folder: str) -> None:
        declared = [folder] if folder else []
        for model in parsed.models if parsed is not None else ():
            declared += [path for path in (model.source_path, model.adapter_path, model.original_path) if path]
        self._declarations = [path for path in _outermost(declared) if os.path.isdir(path)]
        self._machine = [path for path in (machine.layout.served, machine.layout.suspended) if os.path.isdir(path)]
        parts = parts_of(machine.backend)
        # What lies in a cache that is searched is seen there; of another its index is the only file that counts.
        self._cache = [one.catalog for one in parts if os.path.isdir(one.catalog)]
        self._cache += [one.index for one in parts if os.path.isdir(one.index)]
        self._indexes = {os.path.basename(one.index) for one in parts}
        self.identity = tuple(map(_identity, (*self._declarations, *self._machine, *self._cache)))

    def threads(self) -> Iterator[tuple[list[str], bool, Callable[[str], str | None]]]:
        if self._declarations or self._machine:
            yield [*self._declarations, *self._machine], True, self._reason
        if self._cache:
            yield self._cache, False, self._of_the_cache

    def _reason(self, path: str) -> str | None:
        if any(_is_below(path, folder) for folder in self._machine):
            return None if os.path.basename(path).startswith(("lock", ".lock")) else MACHINE
        passing = path.endswith(PASSING) or f"{os.sep}.git{os.sep}" in path
        return None if passing else DECLARATIONS

    def _of_the_cache(self, path: str) -> str | None:
        """The back end's other files say nothing of its names."""
        named = os.path.basename(path) in self._indexes or os.path.basename(os.path.dirname(path)) in self._indexes
        return MACHINE if named or path in self._cache else None


def _identity(path: str) -> tuple[str, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return path, 0, 0
    return path, status.st_dev, status.st_ino


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Without those that lie in another of them."""
    kept: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths}):
        if not any(_is_below(path, outer) for outer in kept):
            kept.append(path)
    return tuple(kept)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
