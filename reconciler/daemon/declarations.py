"""Where the daemon reads what is declared: a folder, or a branch of a repository that may not answer."""

import time
from typing import Protocol

from reconciler.daemon.pacing import jittered
from reconciler.daemon.state import Moment
from reconciler.domain.backoff import of_passes
from reconciler.engine.machine import Machine
from reconciler.manifests.parsed import Parsed
from reconciler.operations.repository import Branch
from reconciler.sources.manifests import ParseCache, load


class Declarations(Protocol):
    """`origin` is shown; `folder` is watched ("" for a repository); `answered` is when a repository answered last."""

    origin: str
    folder: str
    answered: Moment | None

    def read(self, machine: Machine, *, asked: bool) -> Parsed:
        """`asked`: an operator or a hook wants it now, whatever the back-off. Raises what a source raises."""

    def doubt(self) -> None:
        """The pass did not converge: use nothing that is remembered."""


class FolderSource:
    def __init__(self, path: str, allowed_roots: tuple[str, ...] = ()) -> None:
        self.origin = "folder"
        self.folder = path
        self.answered: Moment | None = None
        self._roots = allowed_roots
        self._cache = ParseCache()

    def read(self, machine: Machine, *, asked: bool) -> Parsed:
        return load(self.folder, allowed_roots=self._roots, cache=self._cache)

    def doubt(self) -> None: ...


class RepositorySource:
    """A server that does not answer is asked less and less often; passes go on with its last answer."""

    def __init__(self, branch: Branch, interval: float) -> None:
        self.origin = branch.remote.url
        self.folder = ""
        self.answered: Moment | None = None
        self._branch = branch
        self._backoff = of_passes(interval)
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
        self._failures += 1
        pause = jittered(self._backoff.after(self._failures)) if self._failures > 1 else 0.0
        self._ask_at = time.monotonic() + pause  # after the first failure the next pass asks again
