"""Rehearses a candidate as far as that is quick, records what was measured, and judges it. What takes long has been
measured by a job before (engine.jobs). Nothing is measured twice: with a changed bar this takes no time."""

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import Disturbed, GateFailed
from reconciler.domain.measured import Fidelity, Measured
from reconciler.engine.pass_context import PassContext
from reconciler.gates.judgement import judge, needed, rejection_text

HINT = "relax the bar (nothing is measured again for that), or change the model"


def prove(wanted: DesiredRelease, staged: str, name: str, context: PassContext) -> None:
    """`staged` is the candidate's folder, `name` its name in the rehearsal. Raises GateFailed, or RehearsalFailed when
    it does not even answer. Each measurement is recorded and judged at once: the first failure ends it."""
    release, gates, known = wanted.release, wanted.gates, context.known()
    fidelity, held = known.fidelity.get(release.recipe.build_key), known.releases.get(release.digest)
    require(wanted, fidelity, held)
    held = held or Measured(release=release.digest, build_key=release.recipe.build_key)
    rest = needed(gates, fidelity, held).in_runtime
    for measured in context.workers.rehearsal.prove(staged, name, rest, held) if rest else ():
        held = measured
        context.machine.records.save_measured(held)
        require(wanted, fidelity, held)
    require(wanted, fidelity, held)


def require_compared(wanted: DesiredRelease, context: PassContext) -> None:
    """A candidate must have been compared with its source: the plan has that measured first."""
    fidelity = context.known().fidelity.get(wanted.release.recipe.build_key)
    if needed(wanted.gates, fidelity, None).fidelity:
        raise Disturbed("it was not compared with its source, or the numbers were lost", code="NumbersLost")


def rejected(wanted: DesiredRelease, fidelity: Fidelity | None, measured: Measured | None) -> str:
    """Why these numbers fail the gates, each beside its bar; "" when they do not."""
    return rejection_text(judge(wanted.gates, wanted.release.precision, fidelity, measured))


def require(wanted: DesiredRelease, fidelity: Fidelity | None, measured: Measured | None) -> None:
    if why := rejected(wanted, fidelity, measured):
        raise GateFailed(why, hint=HINT)


def asks_fidelity(desired: Desired, build_key: str) -> bool:
    """Does any release of this artifact have to be compared with its source?"""
    asking = (one.gates for one in desired.wanted if one.release.recipe.build_key == build_key)
    return any(needed(gates, None, None).fidelity for gates in asking)
