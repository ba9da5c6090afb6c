"""What has to come from the hub before a conversion. Pure; part of planner.plan.

A fetch is planned alone: only a look at what has come tells what the conversion is made of, so that is the next plan's.
"""

from reconciler.domain.changes import Cost, FetchSource
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.domain.sources.hub import Fetch
from reconciler.planner.estimate import seconds_for

# Bytes that a download leaves free for everything else, while it is unknown what the conversion will take.
RESERVE = 256 << 20


def fetch_change(wanted: DesiredRelease, fetch: Fetch, recorded: Recorded) -> FetchSource:
    """Where what serves may go first, the download comes before that: its room is judged alone."""
    conversion = RESERVE if wanted.delete_first else max(wanted.peak_bytes, RESERVE)
    return FetchSource(
        reason=Reason.DRIFT_DETECTED if fetch.damaged else Reason.SOURCE_MISSING,
        release=wanted.release,
        source=fetch.source,
        forced_by=fetch.damaged,
        cost=Cost(
            download_bytes=fetch.missing,
            disk_bytes=fetch.missing,
            peak_disk_bytes=fetch.missing + conversion,
            seconds=seconds_for("fetch", "", fetch.missing, recorded.timings),
        ),
    )
