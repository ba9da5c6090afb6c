"""Verdicts for people: how many bars are met, and each number beside its bar. Reads their JSON view only."""

from collections.abc import Iterable

from reconciler.domain.verdict import shown_number
from reconciler.reports.text import Shown, markdown_row

MOST_VARIANTS = 20  # that are named where all is well

_SIGNS = {"Successful": "ok", "Failed": "failed", "Inconclusive": "open"}


def tally(verdicts: Iterable[Shown]) -> str:
    """`4 of 6, 1 failed, 1 open`; `-` where nothing was judged."""
    found = [verdict["status"] for verdict in verdicts]
    if not found:
        return "-"
    rest = [f"{n} {_SIGNS[one]}" for one in ("Failed", "Inconclusive") if (n := found.count(one))]
    return ", ".join([f"{found.count('Successful')} of {len(found)}", *rest])


def verdict_line(verdict: Shown) -> str:
    return f"{verdict['gate']}: {verdict['message']} ({sign(verdict)})"


def sign(verdict: Shown) -> str:
    """ok | failed | a warning | open"""
    if verdict["status"] == "Failed" and not verdict["rejects"]:
        return "a warning"
    return _SIGNS[verdict["status"]]


def unmet(verdicts: Iterable[Shown]) -> list[Shown]:
    """Bars that are missed or open, without those that reject, which are shown with the variant, and without skipped
    gates."""
    return [
        one for one in verdicts if one["status"] != "Successful" and not one["rejects"] and one["measure"] != "skipped"
    ]


def change_line(change: Shown) -> str:
    """A bar that a commit changes: what it gives for the numbers of a machine, and what the old one gives."""
    before, after, low, high = change["before"], change["after"], change["low"], change["high"]
    if after is None:
        return f"{before['gate']}: {before['message']}: no longer asked for ({sign(before)} before)"
    was = sign(before) if before is not None else "not asked for"
    numbers = "" if low == high else f" ({shown_number(low)} to {shown_number(high)} on these machines)"
    return f"{after['gate']}: {after['message']}{numbers} ({was} -> {sign(after)})"


def by_variant(view: Shown) -> dict[str, list[Shown]]:
    """The verdicts of a plan."""
    found: dict[str, list[Shown]] = {}
    for verdict in view["gates"]:
        found.setdefault(verdict["variant"], []).append(verdict)
    return found


def plan_lines(view: Shown) -> list[str]:
    """A line for each variant, and below it what is not met; of what the plan changes or holds back every bar but those
    that reject, which are shown where it is held back."""
    found = by_variant(view)
    concerned = {one["variant"] for one in (*view["changes"], *view["held"])}
    many = len(found) > MOST_VARIANTS
    lines = [f"gates of {len(found)} variants: {tally(view['gates'])}"] if many else []
    for variant, verdicts in found.items():
        listed = [one for one in verdicts if not one["rejects"]] if variant in concerned else unmet(verdicts)
        if listed or not many:
            lines.append(f"gates of {variant}: {tally(verdicts)}")
        lines += [f"    {verdict_line(one)}" for one in listed]
    return lines


def table(verdicts: Iterable[Shown]) -> list[str]:
    """Rows of Markdown."""
    rows = ((one["gate"], one["measure"], _number(one["number"]), _number(one["bar"]), sign(one)) for one in verdicts)
    return ["| gate | | number | bar | |", "|---|---|---|---|---|", *map(markdown_row, rows)]


def _number(number: float | None) -> str:
    return "" if number is None else shown_number(number)
