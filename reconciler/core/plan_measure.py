"""When a release is measured beside the passes: before it is verified, where that may take long; while it serves, for
a gate that was declared since. Pure; part of core.plan."""

from __future__ import annotations

from reconciler.core.bars import Gates
from reconciler.core.gates import judge, needed, owed
from reconciler.core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.core.changes import Change
    from reconciler.core.desired import Wanted
    from reconciler.core.gates import Verdict
    from reconciler.core.measured import Fidelity, Measured
    from reconciler.core.recorded import Recorded

ANEW = "GateUnmeasured"

_USUAL = Gates()


def measure_first(
    change: Change, wanted: Wanted, recorded: Recorded, *, is_built: bool
) -> tuple[Change, ...]:
    """`change`, if it is needed. A conversion brings its fidelity along."""
    rest = needed(wanted.gates, *_known(wanted, recorded))
    if not (is_built and recorded.measured.told):
        rest = replace(rest, fidelity=False)
    return (_keyed(change, wanted),) if rest.long else ()


def measure_anew(make_change: Callable[[], Change], wanted: Wanted, recorded: Recorded) -> tuple[Change, ...]:
    """A change, if a gate was declared after its release was served: that serves on meanwhile."""
    if not recorded.measured.told or wanted.gates == _USUAL:
        return ()
    rest = owed(wanted.gates, *_known(wanted, recorded))
    if not (rest.fidelity or rest.in_runtime):
        return ()
    return (_keyed(make_change(), wanted),)


def verdicts_of(wanted: Wanted, recorded: Recorded) -> tuple[Verdict, ...]:
    """What the gates of today say about the release by the numbers of then; nothing where none were taken."""
    fidelity, measured = _known(wanted, recorded)
    if fidelity is None and measured is None:
        return ()
    judged, release = recorded.measured.judged, wanted.release
    gates, found = judged.get(release.digest, (None, ()))
    if gates is not wanted.gates:
        found = judge(wanted.gates, release.precision, fidelity, measured)
        judged[release.digest] = wanted.gates, found
    verdicts: tuple[Verdict, ...] = found
    return verdicts


def without_measuring(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.reason != ANEW)


def _keyed(change: Change, wanted: Wanted) -> Change:
    return replace(change, after={**(change.after or {}), "measure": wanted.measure_key})


def _known(wanted: Wanted, recorded: Recorded) -> tuple[Fidelity | None, Measured | None]:
    release, known = wanted.release, recorded.measured
    return known.fidelity.get(release.recipe.build_key), known.releases.get(release.digest)
