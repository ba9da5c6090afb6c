"""Text that several reports have in common: lines and tables for a terminal, problems, values, costs, the verdicts of
gates, and commands for GitHub's annotations. What others wrote is made harmless for the place where it is shown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.domain.errors import Problem
from reconciler.domain.plain_data import as_dict, grouped
from reconciler.domain.text.escape import for_annotation, for_annotation_property, for_markdown, for_terminal
from reconciler.domain.text.units import size_text
from reconciler.domain.verdict import shown_number

Shown = Mapping[str, Any]

MOST_NOTICES = 9  # GitHub shows ten of a kind for a step
LONGEST_VALUE = 200  # characters
MOST_VARIANTS = 20  # that are named where all of their gates are met

_SIGNS = {"Successful": "ok", "Failed": "failed", "Inconclusive": "open"}
_ACTIONS = ("fetch", "pull", "convert", "take", "measure", "verify", "register", "repair", "retire", "prune")


def natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts edge-11 before edge-100, as people count."""
    parts = re.findall(r"[0-9]{1,18}|[^0-9]+", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def built_by(origin: Shown | None) -> str:
    """Of what reports.view.origin_view gives."""
    if origin is None:
        return "this machine"
    signed = f"signed by {origin['signedBy']}" if origin["signedBy"] else "no signature counted"
    return f"others: from {origin['registry']}, {signed}"


def terminal_lines(lines: Iterable[str]) -> str:
    return "".join(f"{for_terminal(line)}\n" for line in lines)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(for_markdown, cells))} |"


def actions_text(changes: Iterable[Shown]) -> str:
    """`1 to convert, 2 to register`"""
    actions = [action_word(change) for change in changes]
    return ", ".join(f"{actions.count(one)} to {one}" for one in _ACTIONS if one in actions) or "nothing to do"


def action_word(change: Shown) -> str:
    """For people (domain.changes.word_of). What an earlier version wrote has the action alone."""
    return str(change.get("word") or change["action"])


def event_type(event: Shown) -> str:
    """For people: `take.done` for an event of the type `convert.done` whose `word` is take."""
    kind = str(event.get("type") or "")
    return f"{event['word']}.{kind.partition('.')[2]}" if event.get("word") else kind


def held_text(held: Shown) -> str:
    return f"{held['variant']}: held back ({held['reason']}): {held['message']}"


def value_text(value: object) -> str:
    if value is None:
        return "not set"
    return cut(" ".join((", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)).split()))


def cut(line: str) -> str:
    return line if len(line) <= LONGEST_VALUE else f"{line[:LONGEST_VALUE]}..."


def cost_text(cost: Shown) -> str:
    parts = [f"download {size_text(cost['downloadBytes'])}"] if cost["downloadBytes"] else []
    if cost["diskBytes"]:
        parts.append(f"{'+' if cost['diskBytes'] > 0 else ''}{size_text(cost['diskBytes'])}")
    parts += [f"peak {size_text(cost['peakDiskBytes'])}"] if cost["peakDiskBytes"] else []
    parts += [f"memory {size_text(cost['peakMemoryBytes'])}"] if cost["peakMemoryBytes"] else []
    parts += [f"about {time_text(cost['seconds'])}"] if cost["seconds"] is not None else []
    return ", ".join(parts)


def time_text(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def problem_line(problem: Shown) -> str:
    """file:line: field: message"""
    where = f"{problem['file']}:{problem['line']}" if problem["line"] else problem["file"]
    field = f"{problem['field']}: " if problem["field"] else ""
    return f"{where}: {field}{problem['message']}"


def problems_text(problems: Iterable[Problem], level: str = "error") -> str:
    """`error: file:line: field: expected, got`, and `hint: ...` on the next line, for each cause."""
    lines = []
    for problem in by_cause(map(as_dict, problems)):
        lines.append(f"{level}: {problem_line(problem)}")
        lines += [f"hint: {problem['hint']}"] if problem["hint"] else []
    return terminal_lines(lines)


def by_cause(problems: Iterable[Shown]) -> list[Shown]:
    """One of those that say the same of several files, such as a source that a thousand manifests share: the first,
    with the other files counted."""
    causes = grouped(problems, lambda one: (one["code"], one["field"], one["message"], one["hint"], one.get("new")))
    return [one for some in causes.values() for one in _counted(some)]


def _counted(some: list[Shown]) -> list[Shown]:
    others = len({one["file"] for one in some}) - 1
    if not others:
        return some
    more = f"{others} more file{'s' if others > 1 else ''}"
    return [{**some[0], "message": f"{some[0]['message']} (the same in {more})"}]


def annotation(level: str, text: str, place: str = "") -> str:
    return f"::{level}{place and ' '}{place}::{for_annotation(text)}"


def place_of(file: str, line: int = 0) -> str:
    return f"file={for_annotation_property(file)}" + (f",line={line}" if line else "")


def annotations(problems: Iterable[Shown], warnings: Iterable[Shown], *others: str) -> str:
    """One for each problem and warning at its file and line, then the others."""
    found = [_of_problem("error", one) for one in by_cause(problems)]
    found += [_of_problem("warning", one) for one in by_cause(warnings)]
    return "".join(f"{line}\n" for line in (*found, *others))


def _of_problem(level: str, problem: Shown) -> str:
    text = f"{problem['field']}: {problem['message']}" if problem["field"] else problem["message"]
    return annotation(level, text, f"{place_of(problem['file'], problem['line'])},title={problem['code']}")


def tally(verdicts: Iterable[Shown]) -> str:
    """`4 of 6, 1 failed, 1 open`; `-` where nothing was judged."""
    found = [verdict["status"] for verdict in verdicts]
    if not found:
        return "-"
    rest = [f"{n} {_SIGNS[one]}" for one in ("Failed", "Inconclusive") if (n := found.count(one))]
    return ", ".join([f"{found.count('Successful')} of {len(found)}", *rest])


def verdict_line(verdict: Shown) -> str:
    return f"{verdict['gate']}: {verdict['message']} ({verdict_sign(verdict)})"


def verdict_sign(verdict: Shown) -> str:
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


def gate_change_line(change: Shown) -> str:
    """A bar that a commit changes: what it gives for the numbers of a machine, and what the old one gives."""
    before, after, low, high = change["before"], change["after"], change["low"], change["high"]
    if after is None:
        return f"{before['gate']}: {before['message']}: no longer asked for ({verdict_sign(before)} before)"
    was = verdict_sign(before) if before is not None else "not asked for"
    numbers = "" if low == high else f" ({shown_number(low)} to {shown_number(high)} on these machines)"
    return f"{after['gate']}: {after['message']}{numbers} ({was} -> {verdict_sign(after)})"


def gates_by_variant(view: Shown) -> dict[str, list[Shown]]:
    return grouped(view["gates"], lambda verdict: str(verdict["variant"]))


def gate_lines(view: Shown) -> list[str]:
    """A line for each variant, and below it what is not met; of what the plan changes or holds back every bar but those
    that reject, which are shown where it is held back."""
    found = gates_by_variant(view)
    concerned = {one["variant"] for one in (*view["changes"], *view["held"])}
    many = len(found) > MOST_VARIANTS
    lines = [f"gates of {len(found)} variants: {tally(view['gates'])}"] if many else []
    for variant, verdicts in found.items():
        listed = [one for one in verdicts if not one["rejects"]] if variant in concerned else unmet(verdicts)
        if listed or not many:
            lines.append(f"gates of {variant}: {tally(verdicts)}")
        lines += [f"    {verdict_line(one)}" for one in listed]
    return lines


def gates_table(verdicts: Iterable[Shown]) -> list[str]:
    lines = ["| gate | | number | bar | |", "|---|---|---|---|---|"]
    for one in verdicts:
        numbers = ("" if one[name] is None else shown_number(one[name]) for name in ("number", "bar"))
        lines.append(markdown_row((one["gate"], one["measure"], *numbers, verdict_sign(one))))
    return lines
