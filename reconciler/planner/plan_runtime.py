"""What serves was verified with one runtime, and another is installed now. Pure; part of planner.plan.

Once for each runtime: what is measured carries its versions, and what fails is remembered under them (domain.failures).
"""

from __future__ import annotations

from reconciler.domain.changes import Change, Cost
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.recorded import Recorded
from reconciler.planner.estimate import seconds_for


def verify_anew(wanted: DesiredRelease, recorded: Recorded, number: int) -> tuple[Change, ...]:
    """What serves was measured with another runtime than the one that is installed: once more, while it serves."""
    release = wanted.release
    old, installed = recorded.outdated.get(release.digest), recorded.runtime
    if old is None:
        return ()
    changed = sorted(
        package for package, version in old.items() if installed.get(package, version) != version
    )
    change = Change(
        action="verify",
        reason="RuntimeChanged",
        variant=release.variant,
        build_key=release.recipe.build_key,
        number=number,
        forced_by=tuple(f"runtime.{package}" for package in changed),
        before={f"runtime.{package}": old[package] for package in changed},
        after={
            "id": f"{release.variant}:{number}",
            "release": release.digest,
            "runtime": dict(installed),
            **{f"runtime.{package}": installed[package] for package in changed},
        },
        cost=Cost(seconds=seconds_for("verify", release.precision, wanted.source_bytes, recorded.timings)),
    )
    return (change,)
