"""The history of one variant: its releases, the newest first, with what changed each time. Pure."""

import re
from collections.abc import Container, Sequence

from reconciler.domain.history import REJECTED, SERVED, History, HistoryEntry
from reconciler.domain.plain_data import as_dict
from reconciler.domain.recorded import RecordedRelease
from reconciler.domain.text.escape import for_terminal
from reconciler.planner.difference import compare
from reconciler.reports.text import Shown, columns
from reconciler.reports.view import FORMAT_VERSION, View

COLUMNS = ("", "RELEASE", "STATE", "SINCE", "CHANGED", "REVISION")

# A commit as short as git shows it, and the digest of a folder as short as plans show digests.
_REVISION = re.compile(r"(.+@(?:sha1:[0-9a-f]{7}|sha256:[0-9a-f]{12}))[0-9a-f]+")


def history_view(
    variant: str, history: History, *, serving: int, registered: Container[int], artifacts: Container[str]
) -> View:
    """`serving` is the number that the name leads to now (0: none); `artifacts` are the build keys that are held."""
    rows = []
    before: HistoryEntry | None = None
    for one in history:
        rows.append(_row(one, before, serving, registered, artifacts))
        before = one if one.outcome != REJECTED else before
    return {"formatVersion": FORMAT_VERSION, "variant": variant, "releases": rows[::-1]}


def _row(
    one: HistoryEntry, before: HistoryEntry | None, serving: int, registered: Container[int], artifacts: Container[str]
) -> View:
    return {
        "id": one.id if one.number else None,
        "number": one.number,
        "current": bool(one.number) and one.number == serving,
        "state": _state(one, serving, registered),
        "outcome": one.outcome,
        "message": one.message,
        "release": one.digest,
        "parts": one.release.parts,
        "buildKey": one.release.recipe.build_key,
        "artifact": one.artifact or None,
        "artifactHeld": one.release.recipe.build_key in artifacts,
        "revision": one.revision,
        "registered": one.registered,
        "superseded": one.superseded or None,
        "retired": one.retired or None,
        "template": one.release.template_origin,
        "changed": _changed(one, before),
    }


def _changed(one: HistoryEntry, before: HistoryEntry | None) -> list[View] | None:
    """None for the first: there is nothing to compare it with."""
    if before is None:
        return None
    fields = compare(one.release, _as_served(before)).field_changes or ()
    return [{"field": field.name, "before": field.before, "after": field.after} for field in fields]


def _state(one: HistoryEntry, serving: int, registered: Container[int]) -> str:
    if one.number and one.number == serving:
        return "serves"
    if one.number in registered and one.outcome == SERVED:
        return "registered"
    return one.outcome if one.outcome != SERVED else "retired"


def _as_served(one: HistoryEntry) -> RecordedRelease:
    release = one.release
    return RecordedRelease(
        variant=release.variant,
        number=one.number,
        release=one.digest,
        parts=release.parts,
        build_key=release.recipe.build_key,
        recipe=release.recipe.as_json(),
        generation=as_dict(release.generation),
        registered=one.registered,
        revision=one.revision,
        model=release.model,
        precision=release.precision,
        protected=False,
        artifact=one.artifact,
        size=0,
        template_origin=release.template_origin,
    )


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
    return "\n".join(lines) + "\n"


def _cells(one: Shown, variant: str) -> Sequence[str]:
    changed = ", ".join(field["field"] for field in one["changed"] or ())
    short = _REVISION.fullmatch(one["revision"])
    cells = (
        "*" if one["current"] else "",
        one["id"] or f"{variant} (never)",
        one["state"],
        one["registered"],
        changed or ("first" if one["changed"] is None else "nothing"),
        short[1] if short else one["revision"],
    )
    return tuple(map(for_terminal, cells))
