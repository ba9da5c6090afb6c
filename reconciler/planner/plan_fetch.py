"""Sources from the hub: what has to come before a conversion, and what can go. Pure; part of planner.plan.

A fetch is planned alone. Only a look at what has come tells what the conversion is made of, so that is the next plan's.
"""

from __future__ import annotations

from reconciler.domain.changes import Change, Cost
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.hub import Fetch
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Recorded
from reconciler.planner.estimate import seconds_for

# Bytes that a download leaves free for everything else, when nobody can tell yet what the conversion will take.
RESERVE = 256 << 20


def fetch_change(wanted: DesiredRelease, fetch: Fetch, recorded: Recorded) -> Change:
    """Where what serves may go first, the download comes before that: its room is judged alone."""
    source = fetch.source
    return Change(
        action="fetch",
        reason="DriftDetected" if fetch.damaged else "SourceMissing",
        variant=wanted.variant,
        build_key=source.digest,
        forced_by=fetch.damaged,
        after={
            "source": source.digest,
            "fetch": source.fetch_key,
            "repo": source.repo,
            "revision": source.revision,
            "sizeBytes": source.size,
        },
        cost=Cost(
            download_bytes=fetch.missing,
            disk_bytes=fetch.missing,
            peak_disk_bytes=fetch.missing
            + (RESERVE if wanted.delete_first else max(wanted.peak_bytes, RESERVE)),
            seconds=seconds_for("fetch", "", fetch.missing, recorded.timings),
        ),
    )


def plan_unused_sources(desired: Desired, observed: Observed) -> list[Change]:
    """With the caution of `plan_unreferenced`: while anything is not understood, nothing goes."""
    if not desired.complete or desired.unresolved:
        return []
    return [
        _free(digest, observed.hub_sources[digest])
        for digest in sorted(observed.hub_sources.keys() - desired.hub_sources)
    ]


def _free(digest: str, size: int) -> Change:
    return Change(
        action="prune",
        reason="Unreferenced",
        variant="",
        build_key=digest,
        before={"source": digest, "sizeBytes": size},
        cost=Cost(disk_bytes=-size),
    )
