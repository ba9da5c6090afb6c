"""Fetch one locked source onto this machine: hours of work that touch nothing but the cache's partial folder. The pass
that finds it done publishes it there (engine.job_queue)."""

from collections.abc import Callable

from reconciler.domain.errors import DiskFull
from reconciler.domain.sources.hub import HubSource
from reconciler.domain.text.units import size_text
from reconciler.engine.machine import Machine
from reconciler.host.disk_usage import disk_free
from reconciler.planner.plan_steps import RESERVE
from reconciler.sources.protocol import RemoteSource
from reconciler.sources.select import remote_source


def fetch(
    source: HubSource,
    machine: Machine,
    token_file: str,
    *,
    missing: int,
    home: str,
    on_progress: Callable[[float, str], None],
    on_remote: Callable[[RemoteSource], None],
) -> None:
    """Leaves every file in the partial folder, compared with the lock. `missing` are the bytes that the plan counted;
    `home` is for the child alone; `on_remote` gets what can be cancelled."""
    _require_room(missing, machine)
    folder = machine.sources.begin(source)
    log = machine.layout.at("logs", "hub.log")
    with remote_source(token_file, home=home, log=log) as remote:  # reads the token now: it may have been renewed
        on_remote(remote)
        remote.fetch(source, folder, on_progress)


def _require_room(missing: int, machine: Machine) -> None:
    """The plan asked too; since then something else may have grown."""
    free = disk_free(machine.layout.root)
    if missing + RESERVE > free:
        message = f"the download needs {size_text(missing + RESERVE)}, {size_text(free)} are free"
        raise DiskFull(message, hint="free some space, or choose another file system with --root")
