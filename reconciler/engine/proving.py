"""Measure what the gates of a candidate still need, keep it, and judge. What was measured before is not measured again:
after a changed bar this takes no time at all."""

from __future__ import annotations

from reconciler.core.errors import GateFailed
from reconciler.core.gates import judge, needed, rejection_text
from reconciler.core.measured import Measured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.core.desired import Wanted
    from reconciler.core.measured import Fidelity
    from reconciler.engine.carry_out import Execution

HINT = "relax the bar (nothing is measured again for that), or change the model"


def prove(wanted: Wanted, staged: str, name: str, execution: Execution) -> None:
    """`staged` is the candidate's folder, `name` what it is called meanwhile. Raises GateFailed, or RehearsalFailed
    when it does not even answer."""
    fidelity = _fidelity(wanted, staged, execution)
    _require(wanted, fidelity, None)
    _require(wanted, fidelity, _rehearsed(wanted, staged, name, fidelity, execution))


def _require(wanted: Wanted, fidelity: Fidelity | None, measured: Measured | None) -> None:
    said = rejection_text(judge(wanted.gates, wanted.release.precision, fidelity, measured))
    if said:
        raise GateFailed(said, hint=HINT)


def _fidelity(wanted: Wanted, staged: str, execution: Execution) -> Fidelity | None:
    return execution.known().fidelity.get(wanted.release.recipe.build_key)


def _rehearsed(
    wanted: Wanted, staged: str, name: str, fidelity: Fidelity | None, execution: Execution
) -> Measured:
    """Each part is kept as soon as it is there, and judged: a candidate that fails early is not tried to the end."""
    release, gates = wanted.release, wanted.gates
    empty = Measured(release=release.digest, build_key=release.recipe.build_key)
    held = execution.known().releases.get(release.digest, empty)
    rest = needed(gates, fidelity, held)
    if rest.in_runtime:
        for measured in execution.workers.rehearsal.prove(staged, name, gates, rest, held):
            held = measured
            execution.machine.records.save_measured(held)
            _require(wanted, fidelity, held)
    return held
