"""Measure what the gates of a candidate still need, keep it, and judge. What was measured before is not measured again:
after a changed bar this takes no time at all."""

from __future__ import annotations

from reconciler.core.errors import ConversionFailed, ConverterLost, GateFailed, PermanentError
from reconciler.core.gates import judge, needed, rejection_text
from reconciler.core.measured import Measured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.core.desired import Desired, Wanted
    from reconciler.core.measured import Fidelity
    from reconciler.engine.carry_out import Execution

UNMEASURED = "`fidelity: {skip: <why>}` in its gates and `apply --retry` do without"
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


def asks_fidelity(desired: Desired, build_key: str) -> bool:
    """Does any release of this artifact want to be compared with its source?"""
    return any(
        not one.gates.fidelity.skip for one in desired.wanted if one.release.recipe.build_key == build_key
    )


def _fidelity(wanted: Wanted, staged: str, execution: Execution) -> Fidelity | None:
    """Usually known since the conversion. What cannot be compared is not served: nobody would know what it says."""
    build_key = wanted.release.recipe.build_key
    held = execution.known().fidelity.get(build_key)
    if not needed(wanted.gates, held, None).fidelity:
        return held
    try:
        found = execution.workers.compare(execution.source(build_key), staged)
    except (ConversionFailed, ConverterLost) as error:
        said = f"it could not be compared with its source: {error}"
        # What was killed lacked memory, most likely, and that may come back.
        kind = ConverterLost if isinstance(error, ConverterLost) else PermanentError
        raise kind(said, code="FidelityUnmeasured", hint=f"{error.hint}; {UNMEASURED}") from None
    execution.machine.records.save_fidelity(found)
    return found


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
