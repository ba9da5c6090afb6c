"""Where the daemon reads what is declared: a folder, or a branch of a repository that may not answer."""

import time
from collections.abc import Callable
from dataclasses import replace

from reconciler.daemon.state import Moment
from reconciler.daemon.wake import jittered
from reconciler.domain.backoff import of_passes
from reconciler.domain.errors import PermanentError, Problem, TemporaryError
from reconciler.domain.layout import Layout
from reconciler.engine.machine import Machine
from reconciler.manifests.parsed import Parsed
from reconciler.operations.repository import read_branch
from reconciler.reports.machine.view import Standing
from reconciler.sources.git.address import Remote
from reconciler.sources.git.runner import Credentials
from reconciler.sources.git.source import STALE, Followed, stands
from reconciler.sources.git.standing import commit_facts
from reconciler.sources.manifests import ParseCache, load

REMEMBERED = 3600.0  # seconds: then mirror, exports and commit are read again, even for the same commit


class FolderSource:
    """`origin` is shown; `folder` is watched ("" for a repository); `answered` is when a repository answered last."""

    def __init__(self, path: str, allowed_roots: tuple[str, ...] = ()) -> None:
        self.origin = "folder"
        self.folder = path
        self.answered: Moment | None = None
        self._roots = allowed_roots
        self._cache = ParseCache()

    def read(self, machine: Machine, *, asked: bool) -> Parsed:
        return load(self.folder, allowed_roots=self._roots, cache=self._cache)

    def doubt(self) -> None:
        """Nothing is remembered."""

    def standing(self, layout: Layout, attempted: str, applied: str) -> Standing:
        return Standing(origin=self.folder)


class RepositorySource:
    """A branch. While the server names the same commit, nothing is read or written. A server that does not answer is
    asked less and less often; passes go on with its last answer, which has a warning once it is older than two
    intervals. `credentials` are read each time, because a token may be replaced. The first time it goes on with what
    was accepted before, and asks with the next pass: a fleet whose power comes back does not ask at once."""

    def __init__(
        self,
        remote: Remote,
        credentials: Callable[[], Credentials],
        interval: float,
        allowed_roots: tuple[str, ...] = (),
    ) -> None:
        self.origin = remote.url
        self.folder = ""
        self.answered: Moment | None = None
        self._begun = Moment.now()
        self._remote = remote
        self._credentials = credentials
        self._roots = allowed_roots
        self._patience = 2 * interval
        self._backoff = of_passes(interval)
        self._failures = 0
        self._is_new = True
        self._ask_at = 0.0
        self._last: Followed | None = None
        self._parsed: Parsed | None = None  # `_last`, perhaps with a warning
        self._trusted_until = 0.0

    def read(self, machine: Machine, *, asked: bool) -> Parsed:
        """`asked`: an operator or a hook wants it now, whatever the back-off. Raises what a source raises."""
        if self._parsed is not None and self._failures and not asked and time.monotonic() < self._ask_at:
            return self._parsed
        ask, self._is_new = asked or not self._is_new, False
        answered: bool | None = False
        try:
            self._parsed, answered = self._unchanged(machine) or self._read_all(machine, ask=ask)
        finally:
            if answered is not None:
                self._note(answered)
        return self._parsed

    def doubt(self) -> None:
        """The pass did not converge: use nothing that is remembered."""
        self._trusted_until = 0.0

    def standing(self, layout: Layout, attempted: str, applied: str) -> Standing:
        """Of these revisions, for people. Called from other threads; nothing is asked of a server."""
        commit, before = (one.rpartition("@sha1:")[2] for one in (attempted, applied))
        found = commit_facts(self._remote, layout, commit, before)
        return Standing(
            origin=self.origin,
            branch=self._remote.branch,
            commit=commit,
            subject=found.subject,
            committed=found.time,
            behind=found.behind,
        )

    def _unchanged(self, machine: Machine) -> tuple[Parsed, bool] | None:
        """What was read last, and whether the server answered. None when everything must be read, also to report a
        problem."""
        known = self._last
        if known is None or time.monotonic() >= self._trusted_until:
            return None
        try:
            same = stands(self._remote, machine.layout, self._credentials(), known.commit)
        except TemporaryError as error:
            return self._stale(known, error), False
        except PermanentError:
            return None
        return (known.parsed, True) if same else None

    def _read_all(self, machine: Machine, *, ask: bool) -> tuple[Parsed, bool | None]:
        """What the branch declares, and whether the server answered; None where it was not asked."""
        self._last = read_branch(
            machine, self._remote, self._credentials(), accept=True, allowed_roots=self._roots, ask=ask
        )
        parsed = self._last.parsed
        answered = all(warning.code != STALE for warning in parsed.warnings)
        self._trusted_until = time.monotonic() + (REMEMBERED if answered and not parsed.problems else 0)
        return parsed, answered if self._last.asked else None

    def _stale(self, known: Followed, error: TemporaryError) -> Parsed:
        if (self.answered or self._begun).age <= self._patience:
            return known.parsed
        message = f"stale: {error}; going on with {known.commit}, accepted before"
        warning = Problem(code=STALE, file=self.origin, message=message, hint=error.hint)
        return replace(known.parsed, warnings=(*known.parsed.warnings, warning))

    def _note(self, answered: bool) -> None:
        if answered:
            self._failures, self.answered = 0, Moment.now()
            return
        self._failures += 1
        pause = jittered(self._backoff.after(self._failures)) if self._failures > 1 else 0.0
        self._ask_at = time.monotonic() + pause  # after the first failure the next pass asks again


Declarations = FolderSource | RepositorySource
