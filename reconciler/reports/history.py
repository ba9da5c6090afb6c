"""The history of one variant: its releases, the newest first, with what changed each time. Pure."""

import re
from collections.abc import Container, Mapping, Sequence

from reconciler.domain.history import REJECTED, ROLLED_BACK, SERVED, History, HistoryEntry, Rollback
from reconciler.domain.machine.trust import Origin
from reconciler.domain.release import Release
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.verdict import Verdict
from reconciler.planner.difference import field_changes
from reconciler.reports.text import Shown, built_by, columns
from reconciler.reports.view import FORMAT_VERSION, View, origin_view, verdict_view

COLUMNS = ("", "RELEASE", "STATE", "SINCE", "CHANGED", "REVISION")

NOTHING: dict[str, Origin] = {}
NOT_JUDGED: dict[str, Sequence[Verdict]] = {}

# A commit as short as git shows it, and the digest of a folder as short as plans show digests.
_REVISION = re.compile(r"(.+@(?:sha1:[0-9a-f]{7}|sha256:[0-9a-f]{12}))[0-9a-f]+")


def history_view(
    variant: str,
    history: History,
    *,
    serving: int,
    registered: Container[int],
    artifacts: Container[str],
    origins: Mapping[str, Origin] = NOTHING,
    verdicts: Mapping[str, Sequence[Verdict]] = NOT_JUDGED,
    rollback: Rollback | None = None,
) -> View:
    """`serving` is the number that the name leads to now (0: none); `artifacts` are the build keys that are held,
    `origins` those of artifacts by their digest, `verdicts` those of gates by the digest of a release; `rollback` is
    the one by hand that holds now. What changed is null for the first: there is nothing to compare it with."""
    rows = []
    before: Release | None = None
    for one in history:
        changes = field_changes(one.release, before) if before is not None else ()
        changed = [{"field": field.name, "before": field.before, "after": field.after} for field in changes]
        rows.append(
            {
                "id": one.id if one.number else None,
                "number": one.number,
                "current": bool(one.number) and one.number == serving,
                "state": _state(one, serving, registered),
                "outcome": one.outcome,
                "message": _why(one, rollback),
                "release": one.digest,
                "parts": one.release.parts,
                "buildKey": one.release.recipe.build_key,
                "artifact": one.artifact or None,
                "origin": origin_view(origins.get(one.artifact)),
                "artifactHeld": one.release.recipe.build_key in artifacts,
                "revision": one.revision,
                "registered": one.registered,
                "superseded": one.superseded or None,
                "retired": one.retired or None,
                "template": one.release.template_origin,
                "gates": [verdict_view(verdict) for verdict in verdicts.get(one.digest, ())],
                "changed": changed if before is not None else None,
            }
        )
        before = one.release if one.outcome != REJECTED else before
    return {"formatVersion": FORMAT_VERSION, "variant": variant, "releases": rows[::-1]}


def _why(one: HistoryEntry, rollback: Rollback | None) -> str:
    """Why it went or never came; of a roll-back by hand also whether it holds still."""
    if one.outcome != ROLLED_BACK or not one.message.startswith("rolled back "):
        return one.message
    fact = one.message.partition(f"; {one.digest[:19]} is not served until ")[0]  # earlier versions wrote that there
    if rollback is not None and fact.startswith(str(rollback)):
        way_out = f"`reconciler rollback {one.release.variant} --undo`"
        return f"{fact}; while git declares exactly this it is not served, unless {way_out} ends that"
    return f"{fact}; that is over"


def _state(one: HistoryEntry, serving: int, registered: Container[int]) -> str:
    if one.number and one.number == serving:
        return "serves"
    if one.number in registered and one.outcome == SERVED:
        return "registered"
    return one.outcome if one.outcome != SERVED else "retired"


def history_text(view: Shown) -> str:
    variant, releases = view["variant"], view["releases"]
    if view.get("damaged"):
        what = "the record of its releases is damaged, so they are unknown"
        return f"{variant}: {what}: see `reconciler verify`; the next `reconciler apply` sets it aside.\n"
    if not releases:
        return f"{variant}: nothing is remembered.\n"
    head, *rows = columns([COLUMNS, *(_cells(one, variant) for one in releases)])
    lines = [head]
    for row, one in zip(rows, releases, strict=True):
        why = " ".join(one["message"].split())  # why it went or never came
        lines += [row, f"     {for_terminal(why)}"] if why else [row]
        lines += [f"     built by {for_terminal(built_by(one['origin']))}"] if one.get("origin") else []
    return "\n".join(lines) + "\n"


def short_revision(revision: str) -> str:
    found = _REVISION.fullmatch(revision)
    return found[1] if found else revision


def _cells(one: Shown, variant: str) -> Sequence[str]:
    changed = ", ".join(field["field"] for field in one["changed"] or ())
    cells = (
        "*" if one["current"] else "",
        one["id"] or f"{variant} (never)",
        one["state"],
        one["registered"],
        changed or ("first" if one["changed"] is None else "nothing"),
        short_revision(one["revision"]),
    )
    return tuple(map(for_terminal, cells))
