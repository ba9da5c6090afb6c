"""The JSON view of `rollout status`, and its text. Plain dicts, camelCase."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from reconciler.domain.machine_report import MachineReport
from reconciler.domain.rollout import Rollout
from reconciler.domain.text.units import period_text
from reconciler.planner.rollout import rings_of
from reconciler.planner.rollout_status import CandidateProgress, forecast, progress
from reconciler.reports.text import terminal_lines
from reconciler.reports.view import FORMAT_VERSION, View

Found = Iterable[tuple[Rollout, tuple[CandidateProgress, ...]]]


def rollout_view(found: Found, doubted: Iterable[str]) -> View:
    return {
        "formatVersion": FORMAT_VERSION,
        "rollouts": [_rollout(rollout, candidates) for rollout, candidates in found],
        "doubted": sorted(doubted),
    }


def rollouts_view(
    rollouts: Iterable[Rollout],
    reports: Sequence[MachineReport],
    names: Collection[str],
    now: str,
    missing: Collection[str] = (),
) -> list[View]:
    """The same, of reports that are here: those that count. `names` are all machines that are known, `missing` those of
    them whose report is not here."""
    return [_rollout(one, progress(one, reports, names, now, missing)) for one in rollouts]


def rings_text(
    rollouts: Sequence[Rollout], reports: Sequence[MachineReport], names: Collection[str], missing: Collection[str] = ()
) -> dict[str, str]:
    """The ring of each machine, with its Rollout where there are several; those are left out that none is about."""
    found: dict[str, list[str]] = {}
    for rollout in rollouts:
        about = [one for one in reports if any(rollout.is_about(held.model) for held in one.variants)]
        places = rings_of(rollout, dict.fromkeys(missing) | {one.machine: one.labels for one in about}, names)
        for name, number in places.items():
            if not number:  # its labels decide, and are not known
                continue
            ring = _ring_name(rollout, number)
            found.setdefault(name, []).append(f"{rollout.name}/{ring}" if len(rollouts) > 1 else ring)
    return {name: ", ".join(rings) for name, rings in found.items()}


def _ring_name(rollout: Rollout, number: int) -> str:
    return rollout.rings[number - 1].name if number <= len(rollout.rings) else "after all"


def _rollout(rollout: Rollout, candidates: tuple[CandidateProgress, ...]) -> View:
    return {
        "name": rollout.name,
        "where": rollout.where,
        "paused": rollout.paused,
        "broken": rollout.broken,
        "rings": [{"name": one.ring, "who": one.who, "when": one.when} for one in forecast(rollout)],
        "candidates": [_candidate(rollout, one) for one in candidates],
    }


def _candidate(rollout: Rollout, one: CandidateProgress) -> View:
    return {
        "variant": one.variant,
        "release": one.release,
        "wantedBy": one.wanted_by,
        "phase": one.phase,
        "rings": [
            {
                "name": ring.name,
                "machines": len(ring.machines),
                "ready": ring.state.ready,
                "needed": ring.state.needed,
                "opens": ring.state.opens,
                "stopped": ring.state.stopped,
                "opensIn": ring.state.wait,
                "refusing": list(ring.state.refusing),
                "silent": list(ring.state.silent),
                "message": ring.state.message,
                "waitsFor": _waits_for(rollout, one, number),
            }
            for number, ring in enumerate(one.rings, 1)
        ],
    }


def _waits_for(rollout: Rollout, one: CandidateProgress, number: int) -> str:
    """Why machines of this ring do not get the release yet; "" where they may, or all serve it."""
    here = one.rings[number - 1]
    if here.machines and here.state.ready == len(here.machines):
        return ""
    if aborted := rollout.aborts(one.release):
        return f"nothing: it is aborted ({aborted.reason})"
    if number <= rollout.promoted_to(one.release):
        return ""
    if rollout.paused:
        return "the end of the pause"
    before = one.rings[number - 2] if number > 1 else None
    if before is None or before.state.opens:
        return ""
    soon = f"; {period_text(before.state.wait)} more at least" if before.state.wait else ""
    return f"ring {before.name}: {before.state.message}{soon}"


def rollout_text(view: dict[str, Any]) -> str:
    lines: list[str] = []
    for rollout in view["rollouts"]:
        state = rollout["broken"] or ("paused" if rollout["paused"] else "")
        lines.append(f"Rollout {rollout['name']} ({rollout['where']}){': ' + state if state else ''}")
        lines += [f"    ring {one['name'] or '-'}: {one['who']}; {one['when']}" for one in rollout["rings"]]
        for one in rollout["candidates"]:
            lines.append(f"  {one['variant']} {one['release'][:19]}: {one['phase']}, wanted by {one['wantedBy']}")
            lines += [f"    {_ring_line(ring)}" for ring in one["rings"]]
        if not rollout["candidates"]:
            lines.append("  no report names a release of its models")
        lines.append("")
    lines += [f"not counted: {one}" for one in view["doubted"]]
    return terminal_lines(lines or ["no Rollout is declared"])


def _ring_line(ring: dict[str, Any]) -> str:
    name = f"ring {ring['name']}" if ring["name"] else "in no ring"
    return f"{name:<16} {ring['ready']}/{ring['machines']} ready  {ring_text(ring)}"


def ring_text(ring: View) -> str:
    """Where a ring stands with a release, in a line."""
    if ring["stopped"]:
        return f"stopped: {ring['message']}"
    if ring["waitsFor"]:
        return f"waits for {ring['waitsFor']}"
    return f"{'done' if ring['opens'] else 'begun'}: {ring['message']}"
