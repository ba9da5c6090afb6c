"""When a release is measured beside the passes: before it is verified, where that may take long; while it serves, for
a gate that was declared since. Pure; part of planner.plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from reconciler.domain.bars import Gates
from reconciler.domain.changes import Change
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.recorded import Recorded
from reconciler.gates.judgement import missing_measurements, needed
from reconciler.gates.verdicts import known_numbers

ANEW = "GateUnmeasured"

_USUAL = Gates()


def measure_first(
    change: Change, wanted: DesiredRelease, recorded: Recorded, *, is_built: bool
) -> tuple[Change, ...]:
    """`change`, if it is needed. A conversion brings its fidelity along."""
    rest = needed(wanted.gates, *known_numbers(wanted, recorded))
    if not (is_built and recorded.measured.told):
        rest = replace(rest, fidelity=False)
    return (_keyed(change, wanted),) if rest.long else ()


def measure_anew(
    make_change: Callable[[], Change], wanted: DesiredRelease, recorded: Recorded
) -> tuple[Change, ...]:
    """A change, if a gate was declared after its release was served: that serves on meanwhile."""
    if not recorded.measured.told or wanted.gates == _USUAL:
        return ()
    rest = missing_measurements(wanted.gates, *known_numbers(wanted, recorded))
    if not (rest.fidelity or rest.in_runtime):
        return ()
    return (_keyed(make_change(), wanted),)


def without_measuring(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.reason != ANEW)


def _keyed(change: Change, wanted: DesiredRelease) -> Change:
    return replace(change, after={**(change.after or {}), "measure": wanted.measure_key})
