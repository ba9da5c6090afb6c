"""Where the daemon reads what is declared: a folder, or a branch of a repository that may not answer."""

from __future__ import annotations

import time
from typing import Protocol

from reconciler.daemon.pacing import backoff, jittered
from reconciler.daemon.state import Moment
from reconciler.engine.machine import Machine
from reconciler.manifests.parsed import Parsed
from reconciler.operations.repository import Branch
from reconciler.sources.manifests import ParseCache, load


class Declarations(Protocol):
    """`origin` is for people; `folder` is to be watched ("" for a repository); `answered` is when a repository
    answered last."""

    origin: str
    folder: str
    answered: Moment | None

    def read(self, machine: Machine, *, asked: bool) -> Parsed:
        """`asked`: somebody wants it now, so no back-off counts. Raises what a source raises."""

    def doubt(self) -> None:
        """The pass did not converge: believe nothing that is remembered."""


class Folder:
    def __init__(self, path: str, allowed_roots: tuple[str, ...] = ()) -> None:
        self.origin = "folder"
        self.folder = path
        self.answered: Moment | None = None
        self._roots = allowed_roots
        self._cache = ParseCache()

    def read(self, machine: Machine, *, asked: bool) -> Parsed:
        return load(self.folder, allowed_roots=self._roots, cache=self._cache)

    def doubt(self) -> None: ...


class Repository:
    """A server that does not answer is asked less and less often, but passes go on with what it said last."""

    def __init__(self, branch: Branch, interval: float) -> None:
        self.origin = branch.remote.url
        self.folder = ""
        self.answered: Moment | None = None
        self._branch = branch
        self._interval = interval
        self._failures = 0
        self._ask_at = 0.0

    def read(self, machine: Machine, *, asked: bool) -> Parsed:
        known = self._branch.last()
        if known is not None and self._failures and not asked and time.monotonic() < self._ask_at:
            return known
        try:
            parsed = self._branch.read(machine)
        finally:
            self._note()
        return parsed

    def doubt(self) -> None:
        self._branch.distrust()

    def _note(self) -> None:
        if self._branch.answered:
            self._failures, self.answered = 0, Moment.now()
            return
        pause = jittered(backoff(self._failures, self._interval)) if self._failures else 0.0
        self._ask_at = time.monotonic() + pause  # the first time, the next pass asks again
        self._failures += 1
