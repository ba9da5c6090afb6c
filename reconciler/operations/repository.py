"""A branch of a repository, as this machine follows it: the accepted commit is in the records, and only a pass that is
going to apply a commit moves it.

A daemon asks the same question every minute. So `Branch` remembers what the last commit declares, and while the server
names that commit still, nothing else is asked, read or written.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from reconciler.domain.errors import HostRefused, PermanentError, Problem, TemporaryError
from reconciler.engine.machine import Machine
from reconciler.manifests.parsed import Parsed
from reconciler.sources.git.address import Remote
from reconciler.sources.git.source import STALE, Credentials, Followed, follow, stands

REMEMBERED = 3600.0  # seconds: then mirror, exports and commit are looked at again, whatever the server says


def read_branch(
    machine: Machine,
    remote: Remote,
    credentials: Credentials,
    *,
    accept: bool,
    allowed_roots: tuple[str, ...] = (),
) -> Parsed:
    """With `accept` the caller holds the root's lock and goes on to apply what was read."""
    return _followed(machine, remote, credentials, accept, allowed_roots).parsed


class Branch:
    """One branch over the life of a daemon, which holds the root's lock. `credentials` are read anew for each look: a
    token may have been replaced. `answered` says whether the server did, the last time it was asked; one that is silent
    for longer than `patience` seconds is said to be stale."""

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
        self._told: Parsed | None = None
        self._trusted_until = 0.0
        self._patience = patience
        self._answered_at = time.monotonic()

    def read(self, machine: Machine) -> Parsed:
        """What the branch declares now; what it declared last, with a warning, when the server does not answer."""
        self._told = self._read(machine)
        if self.answered:
            self._answered_at = time.monotonic()
        return self._told

    def _read(self, machine: Machine) -> Parsed:
        self.answered = False
        known = self._last if time.monotonic() < self._trusted_until else None
        if known is not None:
            try:
                if self._stands(machine, known.commit):
                    self.answered = True
                    return known.parsed
            except TemporaryError as error:
                return self._stale(known, error)
            except PermanentError:
                pass  # the long way tells what is wrong
        return self._look(machine)

    def last(self) -> Parsed | None:
        """As `read` told it last, without asking."""
        return self._told

    def distrust(self) -> None:
        """Look at everything the next time: the last pass did not converge."""
        self._trusted_until = 0.0

    def _stands(self, machine: Machine, commit: str) -> bool:
        return stands(self.remote, machine.layout, self._credentials(), commit)

    def _look(self, machine: Machine) -> Parsed:
        followed = _followed(machine, self.remote, self._credentials(), True, self._roots)
        parsed = followed.parsed
        self.answered = all(warning.code != STALE for warning in parsed.warnings)
        self._last = followed
        self._trusted_until = time.monotonic() + (REMEMBERED if self.answered and not parsed.problems else 0)
        return parsed

    def _stale(self, known: Followed, error: TemporaryError) -> Parsed:
        if time.monotonic() - self._answered_at <= self._patience:
            return known.parsed
        message = f"stale: {error}; going on with {known.commit}, accepted before"
        warning = Problem(code=STALE, file=self.remote.url, message=message, hint=error.hint)
        return replace(known.parsed, warnings=(*known.parsed.warnings, warning))


def _followed(
    machine: Machine,
    remote: Remote,
    credentials: Credentials,
    accept: bool,
    allowed_roots: tuple[str, ...],
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
        with contextlib.suppress(
            HostRefused, OSError
        ):  # then the mirror remembers it, and the next pass writes it
            machine.records.save_accepted(remote.url, remote.branch, followed.commit)
    return followed
