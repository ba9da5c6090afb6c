"""When a release is measured beside the passes: before it is verified, where that may take long; while it serves, for
a gate that was declared since. Pure; part of planner.plan."""

from collections.abc import Iterable

from reconciler.domain.changes import Change, MeasureServed
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.recorded import Recorded
from reconciler.gates.judgement import Needed, missing_measurements, needed
from reconciler.gates.verdicts import known_numbers

_DEFAULT_GATES = GateSpec()


def is_measured_first(wanted: DesiredRelease, recorded: Recorded, *, is_built: bool) -> bool:
    """Has a candidate to be measured before it is verified? A conversion brings its fidelity along."""
    rest = needed(wanted.gates, *known_numbers(wanted, recorded))
    if not (is_built and recorded.measured.told):
        rest = Needed(gates=rest.in_runtime)
    return rest.slow


def is_measured_again(wanted: DesiredRelease, recorded: Recorded) -> bool:
    """Was a gate declared after the release was served, for which it has not been measured?"""
    if not recorded.measured.told or wanted.gates == _DEFAULT_GATES:
        return False
    rest = missing_measurements(wanted.gates, *known_numbers(wanted, recorded))
    return bool(rest.gates)


def without_measuring(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Without the measurements of what serves: it goes on serving without them."""
    return tuple(change for change in changes if not isinstance(change, MeasureServed))
