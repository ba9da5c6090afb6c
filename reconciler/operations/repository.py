"""Read the manifests of a branch that this machine follows.

The records hold the accepted commit; only a pass that is going to apply a newer commit changes it. `Branch` is for the
daemon, which reads often: while the server names the same commit, it reads and writes nothing.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from reconciler.domain.errors import HostRefused, PermanentError, Problem, TemporaryError
from reconciler.engine.machine import Machine
from reconciler.manifests.parsed import Parsed
from reconciler.sources.git.address import Remote
from reconciler.sources.git.source import STALE, Credentials, Followed, follow, stands

REMEMBERED = 3600.0  # seconds: then mirror, exports and commit are read again, even for the same commit


def read_branch(
    machine: Machine, remote: Remote, credentials: Credentials, *, accept: bool, allowed_roots: tuple[str, ...] = ()
) -> Parsed:
    """With `accept`, the caller holds the root's lock and is going to apply the result."""
    return _followed(machine, remote, credentials, accept, allowed_roots).parsed


class Branch:
    """A branch over the life of a daemon, which holds the root's lock. `credentials` are read each time, because a
    token may be replaced. `answered`: the server answered the last request. When it has not for `patience` seconds, the
    result has a warning that it is stale."""

    def __init__(
        self,
        remote: Remote,
        credentials: Callable[[], Credentials],
        allowed_roots: tuple[str, ...] = (),
        *,
        patience: float = 0.0,
    ) -> None:
        self.remote = remote
        self.answered = False
        self._credentials = credentials
        self._roots = allowed_roots
        self._last: Followed | None = None
        self._parsed: Parsed | None = None
        self._trusted_until = 0.0
        self._patience = patience
        self._answered_at = time.monotonic()

    def read(self, machine: Machine) -> Parsed:
        """What the branch declares; when the server does not answer, what it declared last."""
        self.answered = False
        self._parsed = self._unchanged(machine) or self._read_all(machine)
        if self.answered:
            self._answered_at = time.monotonic()
        return self._parsed

    def _unchanged(self, machine: Machine) -> Parsed | None:
        """None when everything must be read, also to report a problem."""
        known = self._last
        if known is None or time.monotonic() >= self._trusted_until:
            return None
        try:
            self.answered = stands(self.remote, machine.layout, self._credentials(), known.commit)
        except TemporaryError as error:
            return self._stale(known, error)
        except PermanentError:
            return None
        return known.parsed if self.answered else None

    def last(self) -> Parsed | None:
        """The last result of `read`."""
        return self._parsed

    def distrust(self) -> None:
        """Read everything the next time, because the last pass did not converge."""
        self._trusted_until = 0.0

    def _read_all(self, machine: Machine) -> Parsed:
        self._last = _followed(machine, self.remote, self._credentials(), True, self._roots)
        parsed = self._last.parsed
        self.answered = all(warning.code != STALE for warning in parsed.warnings)
        self._trusted_until = time.monotonic() + (REMEMBERED if self.answered and not parsed.problems else 0)
        return parsed

    def _stale(self, known: Followed, error: TemporaryError) -> Parsed:
        if time.monotonic() - self._answered_at <= self._patience:
            return known.parsed
        message = f"stale: {error}; going on with {known.commit}, accepted before"
        warning = Problem(code=STALE, file=self.remote.url, message=message, hint=error.hint)
        return replace(known.parsed, warnings=(*known.parsed.warnings, warning))


def _followed(
    machine: Machine, remote: Remote, credentials: Credentials, accept: bool, allowed_roots: tuple[str, ...]
) -> Followed:
    followed = follow(
        remote,
        machine.layout,
        credentials=credentials,
        accepted=machine.records.accepted(remote.url, remote.branch),
        accept=accept,
        allowed_roots=allowed_roots,
    )
    if accept:
        # When the write fails, the mirror still has the commit, and the next pass writes it.
        with contextlib.suppress(HostRefused, OSError):
            machine.records.save_accepted(remote.url, remote.branch, followed.commit)
    return followed
