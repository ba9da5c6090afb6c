"""Read the manifests of a branch that this machine follows.

The records hold the accepted commit; only a pass that is going to apply a newer commit changes it.
"""

import contextlib

from reconciler.domain.errors import HostRefused
from reconciler.engine.machine import Machine
from reconciler.sources.git.address import Remote
from reconciler.sources.git.runner import Credentials
from reconciler.sources.git.source import Followed, follow


def read_branch(
    machine: Machine,
    remote: Remote,
    credentials: Credentials,
    *,
    accept: bool,
    allowed_roots: tuple[str, ...] = (),
    gathers: bool = False,
    ask: bool = True,
) -> Followed:
    """With `accept`, the caller holds the root's lock and is going to apply the result."""
    followed = follow(
        remote,
        machine.layout,
        credentials=credentials,
        accepted=machine.records.accepted(remote.url, remote.branch),
        accept=accept,
        allowed_roots=allowed_roots,
        gathers=gathers,
        ask=ask,
    )
    if accept:
        # When the write fails, the mirror still has the commit, and the next pass writes it.
        with contextlib.suppress(HostRefused, OSError):
            machine.records.save_accepted(remote.url, remote.branch, followed.commit)
    return followed
