"""The JSON view of `rollout status`, and its text. Plain dicts, camelCase."""

from collections.abc import Iterable
from typing import Any

from reconciler.domain.rollout import Rollout
from reconciler.planner.rollout_status import CandidateProgress, forecast
from reconciler.reports.text import terminal_lines
from reconciler.reports.view import FORMAT_VERSION, View

Found = Iterable[tuple[Rollout, tuple[CandidateProgress, ...]]]


def rollout_view(found: Found, doubted: Iterable[str]) -> View:
    return {
        "formatVersion": FORMAT_VERSION,
        "rollouts": [_rollout(rollout, candidates) for rollout, candidates in found],
        "doubted": sorted(doubted),
    }


def _rollout(rollout: Rollout, candidates: tuple[CandidateProgress, ...]) -> View:
    return {
        "name": rollout.name,
        "where": rollout.where,
        "paused": rollout.paused,
        "broken": rollout.broken,
        "rings": [{"name": one.ring, "who": one.who, "when": one.when} for one in forecast(rollout)],
        "candidates": [_candidate(one) for one in candidates],
    }


def _candidate(one: CandidateProgress) -> View:
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
                "refusing": list(ring.state.refusing),
                "silent": list(ring.state.silent),
                "message": ring.state.message,
            }
            for ring in one.rings
        ],
    }


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
    mark = "stopped" if ring["stopped"] else "done" if ring["opens"] else "waiting"
    return f"{name:<16} {ring['ready']}/{ring['machines']} ready  {mark}: {ring['message']}"
