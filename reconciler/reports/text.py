"""Text that several reports have in common: lines and tables for a terminal, problems, values, costs, and commands
for GitHub's annotations. What others wrote is made harmless for the place where it is shown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.domain.errors import Problem
from reconciler.domain.plain_data import as_dict
from reconciler.domain.text.escape import for_annotation, for_annotation_property, for_markdown, for_terminal
from reconciler.domain.text.units import size_text

Shown = Mapping[str, Any]

MOST_NOTICES = 9  # GitHub shows ten of a kind for a step
LONGEST_VALUE = 200  # characters

_ACTIONS = ("fetch", "convert", "measure", "verify", "register", "repair", "retire", "prune")


def terminal_lines(lines: Iterable[str]) -> str:
    return "".join(f"{for_terminal(line)}\n" for line in lines)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(for_markdown, cells))} |"


def actions_text(changes: Iterable[Shown]) -> str:
    """`1 to convert, 2 to register`"""
    actions = [change["action"] for change in changes]
    return ", ".join(f"{actions.count(one)} to {one}" for one in _ACTIONS if one in actions) or "nothing to do"


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
    """`error: file:line: field: expected, got`, a blank line, `hint: ...`, for each."""
    blocks = []
    for problem in problems:
        hint = f"\nhint: {problem.hint}\n" if problem.hint else ""
        blocks.append(for_terminal(f"{level}: {problem_line(as_dict(problem))}\n{hint}"))
    return "\n".join(blocks)


def annotation(level: str, text: str, place: str = "") -> str:
    """A workflow command of GitHub."""
    return f"::{level}{place and ' '}{place}::{for_annotation(text)}"


def place_of(file: str, line: int = 0) -> str:
    return f"file={for_annotation_property(file)}" + (f",line={line}" if line else "")


def problem_annotation(problem: Shown, level: str = "error") -> str:
    text = f"{problem['field']}: {problem['message']}" if problem["field"] else problem["message"]
    return annotation(level, text, f"{place_of(problem['file'], problem['line'])},title={problem['code']}")
