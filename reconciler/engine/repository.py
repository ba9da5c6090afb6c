"""A branch of a repository, as this machine follows it: the accepted commit is in the records, and only a pass that is
going to apply a commit moves it."""

from __future__ import annotations

import contextlib

from reconciler.core.errors import DiskFull
from reconciler.sources.git import follow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.core.parsed import Parsed
    from reconciler.engine.machine import Machine
    from reconciler.sources.git import Credentials
    from reconciler.sources.git_address import Remote


def read_branch(
    machine: Machine,
    remote: Remote,
    credentials: Credentials,
    *,
    accept: bool,
    allowed_roots: tuple[str, ...] = (),
) -> Parsed:
    """With `accept` the caller holds the root's lock and goes on to apply what was read."""
    followed = follow(
        remote,
        machine.layout,
        credentials=credentials,
        accepted=machine.records.accepted(remote.url, remote.branch),
        accept=accept,
        allowed_roots=allowed_roots,
    )
    if accept:
        with contextlib.suppress(DiskFull):  # then the mirror remembers it, and the next pass writes it
            machine.records.save_accepted(remote.url, remote.branch, followed.commit)
    return followed.parsed
