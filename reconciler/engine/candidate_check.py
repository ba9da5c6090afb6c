"""Rehearse a candidate as far as that is quick, keep what was measured, and judge. What takes long was measured beside
the passes before (engine.measuring); what is known is not measured again: after a changed bar this takes no time."""

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import Disturbed, GateFailed
from reconciler.domain.measured import Fidelity, Measured
from reconciler.engine.pass_context import PassContext
from reconciler.gates.judgement import judge, needed, rejection_text

HINT = "relax the bar (nothing is measured again for that), or change the model"


def prove(wanted: DesiredRelease, staged: str, name: str, context: PassContext) -> None:
    """`staged` is the candidate's folder, `name` what it is called meanwhile. Raises GateFailed, or RehearsalFailed
    when it does not even answer."""
    release, known = wanted.release, context.known()
    fidelity = known.fidelity.get(release.recipe.build_key)
    held = known.releases.get(release.digest)
    require(wanted, fidelity, held)
    require(wanted, fidelity, _rehearsed(wanted, staged, name, fidelity, context))


def require_compared(wanted: DesiredRelease, context: PassContext) -> None:
    """What was never compared with its source is no candidate: it was planned to be measured first."""
    fidelity = context.known().fidelity.get(wanted.release.recipe.build_key)
    if needed(wanted.gates, fidelity, None).fidelity:
        raise Disturbed("nobody has compared it with its source, or the numbers went", code="NumbersLost")


def rejected(wanted: DesiredRelease, fidelity: Fidelity | None, measured: Measured | None) -> str:
    """Why it is not to be served by these numbers, with each beside its bar; "" when it is."""
    return rejection_text(judge(wanted.gates, wanted.release.precision, fidelity, measured))


def require(wanted: DesiredRelease, fidelity: Fidelity | None, measured: Measured | None) -> None:
    if said := rejected(wanted, fidelity, measured):
        raise GateFailed(said, hint=HINT)


def asks_fidelity(desired: Desired, build_key: str) -> bool:
    """Does any release of this artifact want to be compared with its source?"""
    asking = (one.gates for one in desired.wanted if one.release.recipe.build_key == build_key)
    return any(needed(gates, None, None).fidelity for gates in asking)


def _rehearsed(
    wanted: DesiredRelease, staged: str, name: str, fidelity: Fidelity | None, context: PassContext
) -> Measured:
    """Each part is kept as soon as it is there, and judged: a candidate that fails early is not tried to the end."""
    release, gates = wanted.release, wanted.gates
    empty = Measured(release=release.digest, build_key=release.recipe.build_key)
    held = context.known().releases.get(release.digest, empty)
    rest = needed(gates, fidelity, held)
    if rest.in_runtime:
        for measured in context.workers.rehearsal.prove(staged, name, rest.in_runtime, held):
            held = measured
            context.machine.records.save_measured(held)
            require(wanted, fidelity, held)
    return held
