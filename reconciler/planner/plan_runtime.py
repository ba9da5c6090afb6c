"""A release that was verified with one runtime serves with another: it is verified again. Pure; part of planner.plan.

Once for each runtime: what is measured carries its versions, and what fails is remembered under them (domain.failures).
"""

from reconciler.domain.changes import Cost, VerifyServed
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.recorded import Recorded
from reconciler.planner.estimate import seconds_for


def verify_again(wanted: DesiredRelease, recorded: Recorded, number: int) -> tuple[VerifyServed, ...]:
    """Empty where the release was measured with the runtime that is installed, or never."""
    release = wanted.release
    previous = recorded.outdated.get(release.digest)
    if previous is None:
        return ()
    seconds = seconds_for("verify", release.precision, wanted.source_bytes, recorded.timings)
    return (
        VerifyServed(
            release=release, number=number, previous=previous, installed=recorded.runtime, cost=Cost(seconds=seconds)
        ),
    )
