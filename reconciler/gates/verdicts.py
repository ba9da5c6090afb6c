"""What today's gates say about a release by the numbers that were measured of it. Pure."""

from dataclasses import replace

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.measured import Fidelity, Measured
from reconciler.domain.recorded import Recorded
from reconciler.domain.verdict import Verdict
from reconciler.gates.judgement import judge


def verdicts_of(wanted: DesiredRelease, recorded: Recorded) -> tuple[Verdict, ...]:
    """Nothing where nothing was measured."""
    fidelity, measured = known_numbers(wanted, recorded)
    if fidelity is None and measured is None:
        return ()
    return judge(wanted.gates, wanted.release.precision, fidelity, measured)


def with_verdicts(desired: Desired, recorded: Recorded) -> Desired:
    """`desired` with the verdicts of all its releases. Those that are known already are not judged again."""
    return replace(desired, wanted=tuple(_judged(one, recorded) for one in desired.wanted))


def _judged(wanted: DesiredRelease, recorded: Recorded) -> DesiredRelease:
    override = wanted.override
    if override is not None and override.verdicts is None:
        declared = verdicts_of(replace(wanted, release=override.release), recorded)
        wanted = replace(wanted, override=replace(override, verdicts=declared))
    if wanted.verdicts is None:
        wanted = replace(wanted, verdicts=verdicts_of(wanted, recorded))
    return wanted


def known_numbers(wanted: DesiredRelease, recorded: Recorded) -> tuple[Fidelity | None, Measured | None]:
    release, known = wanted.release, recorded.measured
    return known.fidelity.get(release.recipe.build_key), known.releases.get(release.digest)
