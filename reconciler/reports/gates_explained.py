"""Each bar of a variant with what is known: number, verdict, when it was measured and with which libraries. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.measured import Fidelity, Measured
from reconciler.domain.recorded import Recorded
from reconciler.domain.verdict import Verdict
from reconciler.gates.judgement import judge
from reconciler.reports.gates_text import sign, tally
from reconciler.reports.view import View, verdict_view


def gates_view(wanted: DesiredRelease, recorded: Recorded) -> View:
    """`outdated` is another runtime that the release was measured with, whose numbers count for nothing here."""
    release, known = wanted.release, recorded.measured
    fidelity = known.fidelity.get(release.recipe.build_key)
    measured = known.releases.get(release.digest)
    found = judge(wanted.gates, release.precision, fidelity, measured)
    return {
        "verdicts": [_bar(one, wanted, fidelity, measured) for one in found],
        "outdated": recorded.outdated.get(release.digest, {}),
    }


def _bar(verdict: Verdict, wanted: DesiredRelease, fidelity: Fidelity | None, measured: Measured | None) -> View:
    """A golden prompt that lacks its answer leaves the whole gate open, whatever was measured of it."""
    when, runtime = "", {}
    if verdict.number is not None and verdict.gate == "fidelity":
        when, runtime = fidelity.when if fidelity else "", wanted.release.recipe.tools
    elif verdict.number is not None and measured is not None:
        when = measured.times.get(verdict.gate, "")
        runtime = measured.load.runtime if measured.load else {}
    return {**verdict_view(verdict), "misses": list(verdict.misses), "measured": when or None, "runtime": dict(runtime)}


def gates_lines(view: Mapping[str, Any]) -> Iterator[str]:
    yield f"gates      {tally(view['verdicts'])}"
    for one in view["verdicts"]:
        yield f"  {sign(one):<10} {one['gate']}: {one['message']}{_measured(one)}"
    if view["outdated"]:
        yield f"  measured with {_versions(view['outdated'])}, which is not what is installed: `apply` measures again"


def _measured(one: Mapping[str, Any]) -> str:
    if one["number"] is None:
        return ""
    told = f"; measured {one['measured'] or 'by an earlier version'}"
    return f"{told}, {_versions(one['runtime'])}" if one["runtime"] else told


def _versions(runtime: Mapping[str, str]) -> str:
    return " ".join(f"{name} {version}" for name, version in sorted(runtime.items()))
