"""The view of a fleet for a terminal: totals, the matrix, what is not ready and why, and reports that do not count."""

from collections.abc import Iterator, Sequence

from reconciler.domain.plain_data import grouped
from reconciler.domain.text.units import size_text
from reconciler.reports.rollout import rollout_text
from reconciler.reports.text import Shown, columns, terminal_lines

MOST_GROUPS = 8
MOST_MACHINES = 40
FEW = 5  # names in a line
WORDS = {
    "notReady": "not ready",
    "silent": "silent for over a day",
    "working": "at work or waiting",
    "doubted": "doubted",
    "empty": "without a model",
}


def fleet_text(view: Shown) -> str:
    lines = [_headline(view), "", *_matrix(view)]
    if view["rollouts"]:
        lines += ["", rollout_text({"rollouts": view["rollouts"], "doubted": []}).rstrip()]
    if bad := [one for one in view["machines"] if one["state"]["kind"] not in ("ready", "working")]:
        lines += ["", *_table(bad)]
    if busy := [one for one in view["machines"] if one["state"]["kind"] == "working"]:
        lines += ["", *_by_cause(busy)]
    lines += [line for one in view["releases"] if one["wanted"] is False for line in ("", _old(one))]
    lines += ["", *(f"! {one['entry']}: {one['standing']}: {one['why']}" for one in view["problems"])]
    return terminal_lines(lines[:-1] if lines[-1] == "" else lines)


def _headline(view: Shown) -> str:
    totals = view["totals"]
    rest = [f"{totals[kind]:,} {word}" for kind, word in {**WORDS, "behind": "behind"}.items() if totals[kind]]
    return "; ".join([f"{totals['ready']:,} of {totals['machines']:,} machines are ready", *rest])


def _matrix(view: Shown) -> Iterator[str]:
    groups = view["groups"][:MOST_GROUPS]
    rows = [["MODEL", "READY", *groups]] if view["groupBy"] else [["MODEL", "READY"]]
    for one in view["matrix"]:
        held = {cell["group"]: f"{cell['ready']}/{cell['all']}" for cell in one["cells"]}
        more = [held.get(group, "-") for group in groups] if view["groupBy"] else []
        rows.append([one["model"], f"{one['ready']}/{one['all']}", *more])
    yield from columns(rows)
    if view["groupBy"] and len(view["groups"]) > MOST_GROUPS:
        yield f"and {len(view['groups']) - MOST_GROUPS} more groups"


def _table(bad: Sequence[Shown]) -> Iterator[str]:
    yield from columns([("MACHINE", "STATE", "SERVES", "SEEN", "COMMIT", "DISK"), *map(_row, bad[:MOST_MACHINES])])
    if len(bad) > MOST_MACHINES:
        yield f"and {len(bad) - MOST_MACHINES:,} more; -o html or -o json shows all"


def _by_cause(busy: Sequence[Shown]) -> Iterator[str]:
    """Those that need nobody: a line for each reason, since they are often the most."""
    for reason, held in grouped(busy, lambda one: str(one["state"]["reason"])).items():
        names = ", ".join(one["name"] for one in held[:FEW])
        more = f" and {len(held) - FEW:,} more" if len(held) > FEW else ""
        yield f"{reason}: {names}{more}"
        yield f"    such as {held[0]['state']['message']}"


def _row(one: Shown) -> tuple[str, ...]:
    state = one["state"]
    word = state["message"] or ": ".join(part for part in (WORDS[state["kind"]], state["reason"]) if part)
    serves = ", ".join(held["id"] for held in one["variants"] if held["id"]) or "nothing"
    age = one["ageSeconds"]
    seen = "unknown" if age is None else _ago(age)
    behind = f" ({one['behind']} behind)" if one["behind"] else ""
    return (
        one["name"],
        word,
        serves,
        seen,
        f"{one['commit'][:9] or 'none'}{behind}",
        size_text(one["disk"]["freeBytes"]),
    )


def _ago(seconds: float) -> str:
    if seconds < 0:
        return "in the future"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "just now"


def _old(one: Shown) -> str:
    more = f" and {one['machines'] - len(one['some']):,} more" if one["machines"] > len(one["some"]) else ""
    return f"{one['variant']} {one['release'][:19]}, which git wants no more, serves on {', '.join(one['some'])}{more}"
