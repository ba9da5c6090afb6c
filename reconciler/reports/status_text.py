"""The status table for people. Reads the JSON view only."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.domain.suspension import Suspension
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.units import size_text
from reconciler.reports.gates_text import tally, unmet, verdict_line
from reconciler.reports.working_text import working_lines

HEADS = ("VARIANT", "ID", "PRECISION", "SIZE", "READY", "REASON", "GATES", "TEMPLATE", "SINCE")


def status_text(view: Mapping[str, Any]) -> str:
    if not view["variants"]:
        working = working_lines(view.get("working"))
        said = ["nothing is served by this reconciler", *working, *_of_the_machine(view)]
        return "\n".join(for_terminal(line) for line in said) + "\n"
    rows = [HEADS, *(_row(variant) for variant in view["variants"])]
    lines = _columns(rows)
    lines += ["", *(line for variant in view["variants"] for line in _complaints(variant))]
    lines += [*working_lines(view.get("working")), *_of_the_machine(view)]
    lines.append(f"applied revision {view['lastAppliedRevision'] or 'none'}")
    if view["lastAttemptedRevision"] != view["lastAppliedRevision"]:
        lines.append(f"attempted revision {view['lastAttemptedRevision']}")
    if view.get("scrub"):
        lines.append(f"scrub: {view['scrub']['text']}")
    return "\n".join(for_terminal(line) for line in lines) + "\n"


def _row(variant: Mapping[str, Any]) -> Sequence[str]:
    ready = _condition(variant, "Ready")
    return (
        variant["variant"],
        variant["id"] or "-",
        variant["precision"],
        size_text(variant["sizeBytes"]),
        ready["status"],
        ready["reason"],
        _gates(variant),
        variant["template"],
        variant["since"] or "-",
    )


def _gates(variant: Mapping[str, Any]) -> str:
    """How many bars are met. Where what git declares does not serve, that is what was judged."""
    told = tally(variant.get("gates", ()))
    other = variant.get("gatesOf") not in (None, variant.get("release"))
    return f"{told} (declared)" if other else told


_WRONG = {"Followed": "not followed", "ManifestsValid": "manifests are invalid"}


def _of_the_machine(view: Mapping[str, Any]) -> list[str]:
    return [
        f"{_WRONG.get(one['type'], one['type'])} since {one['lastTransitionTime']} ({one['reason']}): {one['message']}"
        for one in view["conditions"]
        if one["status"] == "False"
    ]


def _complaints(variant: Mapping[str, Any]) -> list[str]:
    ready, suspension = _condition(variant, "Ready"), variant["suspension"]
    lines = [] if ready["status"] == "True" else [f"{variant['variant']}: {ready['message']}"]
    stalled = _condition(variant, "Stalled")
    if ready["status"] == "True" and stalled["status"] == "True" and not suspension:
        lines.append(f"{variant['variant']}: {stalled['reason']}: {stalled['message']}")
    lines += [f"{variant['variant']}: {verdict_line(one)}" for one in unmet(variant.get("gates", ()))]
    if suspension:
        too_long = stalled["reason"] == "SuspendedTooLong"
        lines.append(f"{variant['variant']}: {stalled['message'] if too_long else Suspension(**suspension)}")
    return lines


def _condition(variant: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    unknown = {"status": "Unknown", "reason": "-", "message": "no pass has judged it yet"}
    return next((c for c in variant["conditions"] if c["type"] == kind), unknown)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
