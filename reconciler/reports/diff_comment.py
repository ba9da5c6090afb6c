"""A comparison of two commits as one sticky comment of a pull request. Reads the JSON view (reports.diff_view) only.

Names and values come from whoever opened the pull request. Outside of code they are escaped, so they are no markup, no
mention, no link and no picture; inside of code a fence is used that is longer than any run of backticks in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reconciler.domain.escape import for_markdown, for_terminal
from reconciler.reports.diff_render import (
    Shown,
    change_cost,
    cost_text,
    declared_rows,
    group_rows,
    group_title,
    machine_warnings,
    said,
    summary,
    template_rows,
    template_title,
)
from reconciler.reports.render import problem_line

MARKER = "<!-- reconciler-diff -->"
LONGEST_COMMENT = 65_536  # characters and, to be sure, bytes
MOST_ROWS = 200
_CUT = "\n\n(cut: the whole comparison is in the job's log)\n"


def diff_comment(view: Shown) -> str:
    """Whole parts until the limit: a cut never leaves a fence or a `<details>` open."""
    parts = [f"{MARKER}\n**reconciler diff**: {for_markdown(summary(view))}\n"]
    parts += [_compared(view), *_table(view), *_wrong(view)]
    parts += [f"- :warning: {for_markdown(told)}" for _, told in machine_warnings(view)]
    parts += [details(group_title(group), group_rows(group)) for group in view["machines"]]
    parts += [details(template_title(one), template_rows(one)) for one in view["templates"]]
    parts += [part for model in view["models"] for part in _details(model)]
    kept: list[str] = []
    left = LONGEST_COMMENT - len(_CUT)
    for part in parts:
        size = len(part.encode()) + 1
        if size > left:
            return "\n".join(kept) + _CUT
        kept.append(part)
        left -= size
    return "\n".join(kept) + "\n"


def _compared(view: Shown) -> str:
    sides = " → ".join(
        f"{for_markdown(view[side]['revision'])} ({view[side]['commit'][:12]})" for side in ("base", "head")
    )
    text = f"{sides}, manifests in {for_markdown(view['path'] or '.')}\n"
    return text + (f"\n{for_markdown(cost_text(view))}\n" if view["models"] else "")


def _table(view: Shown) -> Iterable[str]:
    """A row for each model; a thousand rows are no summary."""
    models = view["models"]
    if not models:
        return
    yield "| model | | what each machine will do | why | cost |\n|---|---|---|---|---|"
    yield from (_row(model) for model in models[:MOST_ROWS])
    yield f"\n({len(models) - MOST_ROWS} more models)\n" if len(models) > MOST_ROWS else ""


def _row(model: Shown) -> str:
    steps = [f"{name or 'artifact'}: {', '.join(actions)}" for name, actions in _by_variant(model).items()]
    steps += [f"held back: {hold['variant']}" for hold in model["held"]]
    reasons = dict.fromkeys(one["reason"] for one in (*model["changes"], *model["held"]))
    costs = dict.fromkeys(change_cost(change, model) for change in model["changes"])
    cells = (
        model["name"],
        model["declared"],
        "; ".join(steps) or "nothing",
        ", ".join(reasons),
        "; ".join(cost for cost in costs if cost),
    )
    return "| " + " | ".join(for_markdown(cell) for cell in cells) + " |"


def _by_variant(model: Shown) -> dict[str, list[str]]:
    actions: dict[str, list[str]] = {}
    for change in model["changes"]:
        actions.setdefault(change["variant"], []).append(change["action"])
    return actions


def _wrong(view: Shown) -> Iterable[str]:
    for problem in view["problems"]:
        age = "" if problem["new"] else " (this was there before)"
        hint = f" {problem['hint']}" if problem["hint"] else ""
        yield f"- :x: {for_markdown(problem_line(problem) + age + hint)}"
    for warning in view["warnings"]:
        yield f"- :warning: {for_markdown(problem_line(warning))}"
    yield ""


def _details(model: Shown) -> Iterable[str]:
    rows = list(_diff_rows(model))
    if rows:
        yield details(f"{model['name']}: fields", rows)


def details(title: str, rows: Iterable[str]) -> str:
    body = "\n".join(for_terminal(row) for row in rows)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", body)), default=0))
    head = f"<details><summary>{for_markdown(title)}</summary>"
    return f"\n{head}\n\n{fence}diff\n{body}\n{fence}\n\n</details>"


def _diff_rows(model: Shown) -> Iterable[str]:
    """What goes, what comes; each field once, whichever steps it forces."""
    told: dict[str, tuple[Any, Any]] = {}
    for change in model["changes"]:
        for name in change["forcedBy"]:
            told.setdefault(name, (change["before"][name], change["after"][name]))
    for name, (before, after) in told.items():
        yield f"- {name}: {said(before)}"
        yield f"+ {name}: {said(after)}"
    yield from (f"! {row}" for row in declared_rows(model))
    yield from (f"! {h['variant']}: held back ({h['reason']}): {h['message']}" for h in model["held"])
