"""Fetch one locked source onto this machine: hours of work that write nothing but the cache's partial folder. The pass
that finds it done publishes it there (engine.job_queue)."""

import os

from reconciler.domain.changes import FetchSource
from reconciler.domain.errors import DiskFull
from reconciler.domain.text.units import size_text
from reconciler.engine.job import Job
from reconciler.host.disk_usage import disk_free
from reconciler.planner.plan_steps import RESERVE
from reconciler.sources.download import Download
from reconciler.sources.select import REMOTES


def fetch(job: Job[FetchSource]) -> None:
    """Leaves every file in the partial folder, compared with the lock."""
    source, machine = job.change.source, job.context.machine
    job.progressed(0.0, f"asking for {source}")
    _require_room(job.change.cost.download_bytes, machine.layout.root)
    folder = machine.sources.begin(source)
    token_file = job.team.options.token_files.get(source.kind, "")
    home, log = os.path.join(job.folder, "fetch"), machine.layout.at("logs", "hub.log")
    with REMOTES[source.kind].open(token_file, home, log) as remote:  # reads the token now: it may have been renewed
        job.when_cancelled(remote.cancel)
        Download(remote, source, folder, job.progressed).run()


def publish(job: Job[FetchSource]) -> None:
    machine = job.context.machine
    machine.sources.publish(job.change.source, machine.stamps)


def _require_room(missing: int, root: str) -> None:
    """The plan asked too; since then something else may have grown."""
    free = disk_free(root)
    if missing + RESERVE > free:
        message = f"the download needs {size_text(missing + RESERVE)}, {size_text(free)} are free"
        raise DiskFull(message, hint="free some space, or choose another file system with --root")
