"""What today's gates say about a release by the numbers that were measured of it. Pure."""

from __future__ import annotations

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.measured import Fidelity, Measured
from reconciler.domain.recorded import Recorded
from reconciler.domain.verdict import Verdict
from reconciler.gates.judgement import judge


def verdicts_of(wanted: DesiredRelease, recorded: Recorded) -> tuple[Verdict, ...]:
    """What the gates of today say about the release by the numbers of then; nothing where none were taken."""
    fidelity, measured = known_numbers(wanted, recorded)
    if fidelity is None and measured is None:
        return ()
    judged, release = recorded.measured.judged, wanted.release
    gates, found = judged.get(release.digest, (None, ()))
    if gates is not wanted.gates:
        found = judge(wanted.gates, release.precision, fidelity, measured)
        judged[release.digest] = wanted.gates, found
    verdicts: tuple[Verdict, ...] = found
    return verdicts


def known_numbers(wanted: DesiredRelease, recorded: Recorded) -> tuple[Fidelity | None, Measured | None]:
    release, known = wanted.release, recorded.measured
    return known.fidelity.get(release.recipe.build_key), known.releases.get(release.digest)
