"""Bring one source from the hub onto this machine: hours of work that touch nothing but the shelf's partial folder. The
pass that finds it done publishes it there (engine.job_queue)."""

from __future__ import annotations

import os
from collections.abc import Callable

from reconciler.domain.errors import DiskFull
from reconciler.domain.hub import HubSource
from reconciler.domain.units import size_text
from reconciler.engine.machine import Machine, disk_free
from reconciler.planner.plan_fetch import RESERVE
from reconciler.sources.hub.access import HubAccess
from reconciler.sources.hub.fetch import Fetch
from reconciler.sources.hub.source import Hub


def fetch(
    source: HubSource,
    machine: Machine,
    token_file: str,
    *,
    missing: int,
    home: str,
    on_progress: Callable[[float, str], None],
    on_hub: Callable[[Hub], None],
) -> None:
    """Leaves every file in the partial folder, compared with the lock. `missing` are the bytes that the plan counted;
    `home` is for the child alone; `on_hub` gets what can be cancelled."""
    _require_room(missing, machine)
    folder = machine.shelf.begin(source)
    access = HubAccess.of(os.environ, token_file)  # now: a token in a file may have been renewed
    with Hub(access, home=home, log=machine.layout.at("logs", "hub.log")) as hub:
        on_hub(hub)
        Fetch(hub, source, folder, on_progress).run()


def _require_room(missing: int, machine: Machine) -> None:
    """The plan asked too; since then something else may have grown."""
    free = disk_free(machine.layout.root)
    if missing + RESERVE > free:
        message = f"the download needs {size_text(missing + RESERVE)}, {size_text(free)} are free"
        raise DiskFull(message, hint="free some space, or choose another file system with --root")
