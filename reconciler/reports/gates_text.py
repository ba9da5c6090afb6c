"""Verdicts for people: how many bars are met, and each number beside its bar. Reads their JSON view only."""

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.domain.text.escape import for_markdown
from reconciler.domain.verdict import shown_number

Shown = Mapping[str, Any]

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
    """What did not reject and was not met either. What rejects is said where the variant is; what somebody skips is no
    news."""
    return [
        one for one in verdicts if one["status"] != "Successful" and not one["rejects"] and one["measure"] != "skipped"
    ]


def change_line(change: Shown) -> str:
    """A bar that a commit changes: what it says of the numbers that a machine has, and what the old one says."""
    before, after = change["before"], change["after"]
    if after is None:
        return f"{before['gate']}: {before['message']}: no longer asked for ({sign(before)} before)"
    was = sign(before) if before is not None else "not asked for"
    return f"{after['gate']}: {after['message']}{_range(change)} ({was} -> {sign(after)})"


def _range(change: Shown) -> str:
    low, high = change["low"], change["high"]
    return "" if low == high else f" ({shown_number(low)} to {shown_number(high)} on these machines)"


def by_variant(view: Shown) -> dict[str, list[Shown]]:
    """The verdicts of a plan."""
    found: dict[str, list[Shown]] = {}
    for verdict in view.get("gates", ()):
        found.setdefault(verdict["variant"], []).append(verdict)
    return found


def plan_lines(view: Shown) -> list[str]:
    """A line for each variant, and below it what is not met; of what the plan changes or holds back every bar. What
    rejects is said where it is held back."""
    found = by_variant(view)
    concerned = {one["variant"] for one in (*view["changes"], *view["held"])}
    if len(found) > MOST_VARIANTS:
        everything = [one for verdicts in found.values() for one in verdicts]
        lines = [f"gates of {len(found)} variants: {tally(everything)}"]
    else:
        lines = []
    for variant, verdicts in found.items():
        told = [one for one in verdicts if not one["rejects"]] if variant in concerned else unmet(verdicts)
        if told or len(found) <= MOST_VARIANTS:
            lines.append(f"gates of {variant}: {tally(verdicts)}")
        lines += [f"    {verdict_line(one)}" for one in told]
    return lines


def table(verdicts: Iterable[Shown]) -> list[str]:
    """Rows of Markdown."""
    return [
        "| gate | | number | bar | |",
        "|---|---|---|---|---|",
        *("| " + " | ".join(_cells(one)) + " |" for one in verdicts),
    ]


def _cells(verdict: Shown) -> tuple[str, ...]:
    numbers = (_number(verdict["number"]), _number(verdict["bar"]))
    return tuple(for_markdown(cell) for cell in (verdict["gate"], verdict["measure"], *numbers, sign(verdict)))


def _number(held: float | None) -> str:
    return "" if held is None else shown_number(held)
