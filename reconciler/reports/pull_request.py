"""A plan, or a comparison of two commits, as one comment of a pull request. Reads the JSON views (reports.view,
reports.diff_view) only; `ci/` posts it, and finds it again by the hidden marker in its first line.

Names and values come from whoever opened the pull request. Outside of code they are escaped, so they are no markup, no
mention, no link and no picture; inside of code a fence is used that is longer than any run of backticks in it.
"""

import re
from collections.abc import Iterable, Iterator

from reconciler.domain.manifest import variant_name
from reconciler.domain.plain_data import grouped
from reconciler.domain.text.escape import for_markdown, for_terminal
from reconciler.reports import diff_render, render
from reconciler.reports.text import (
    Shown,
    action_word,
    by_cause,
    cost_text,
    gates_by_variant,
    gates_table,
    held_text,
    markdown_row,
    problem_line,
    tally,
    value_text,
)

PLAN_MARKER = "<!-- reconciler-plan -->"
DIFF_MARKER = "<!-- reconciler-diff -->"
LONGEST_COMMENT = 65_536  # characters and, to be sure, bytes
MOST_ROWS = 200


def plan_comment(view: Shown) -> str:
    return _limited(_plan_parts(view), "plan")


def diff_comment(view: Shown) -> str:
    return _limited(_diff_parts(view), "comparison")


def _limited(parts: Iterable[str], what: str) -> str:
    """Whole parts until the limit: a cut never leaves a fence or a `<details>` open."""
    cut = f"\n\n(cut: the whole {what} is in the job's log)\n"
    kept: list[str] = []
    left = LONGEST_COMMENT - len(cut)
    for part in parts:
        left -= len(part.encode()) + 1
        if left < 0:
            return "\n".join(kept) + cut
        kept.append(part)
    return "\n".join(kept) + "\n"


def details(title: str, rows: Iterable[str]) -> str:
    """Folded away until it is opened, as a diff."""
    body = "\n".join(for_terminal(row) for row in rows)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", body)), default=0))
    return _folded(title, f"{fence}diff\n{body}\n{fence}")


def _folded(title: str, body: str) -> str:
    return f"\n<details><summary>{for_markdown(title)}</summary>\n\n{body}\n\n</details>"


def _plan_parts(view: Shown) -> Iterator[str]:
    yield f"{PLAN_MARKER}\n**reconciler**: {for_markdown(render.summary(view))}\n"
    if view["changes"]:
        yield "| action | what | reason | cost |\n|---|---|---|---|"
        yield from map(_change_row, view["changes"])
        yield ""
    for hold in view["held"]:
        yield f"- {for_markdown(hold['variant'])} is held back ({hold['reason']}): {for_markdown(hold['message'])}"
    yield from (
        f"- {for_markdown(one['model'])}: precision {for_markdown(one['message'])}" for one in view.get("chosen", ())
    )
    yield from (f"- :x: {for_markdown(problem_line(problem))}" for problem in by_cause(view["problems"]))
    yield from (f"- :warning: {for_markdown(problem_line(warning))}" for warning in by_cause(view["warnings"]))
    for change in view["changes"]:
        if rows := _change_fields(change):
            yield details(f"{change['variant']}: {action_word(change)}", rows)
    for variant, verdicts in gates_by_variant(view).items():
        yield _folded(f"gates of {variant}: {tally(verdicts)}", "\n".join(gates_table(verdicts)))


def _change_row(change: Shown) -> str:
    name = change["variant"] or change["buildKey"][:19]
    what = for_markdown(render.target(change, name))
    return f"| {action_word(change)} | {what} | {change['reason']} | {cost_text(change['cost'])} |"


def _change_fields(change: Shown) -> list[str]:
    """Fields as a diff shows them: what goes, what comes."""
    rows = render.field_rows(change)
    before, after = change["before"] or {}, change["after"] or {}
    if not rows or before.keys().isdisjoint(change["forcedBy"]):
        return rows
    return [row for name in change["forcedBy"] for row in _replaced(name, before.get(name), after.get(name))]


def _replaced(name: str, before: object, after: object) -> tuple[str, str]:
    return f"- {name}: {value_text(before)}", f"+ {name}: {value_text(after)}"


def _diff_parts(view: Shown) -> Iterator[str]:
    yield f"{DIFF_MARKER}\n**reconciler diff**: {for_markdown(diff_render.summary(view))}\n"
    base, head = (f"{for_markdown(view[one]['revision'])} ({view[one]['commit'][:12]})" for one in ("base", "head"))
    yield f"{base} → {head}, manifests in {for_markdown(view['path'] or '.')}\n"
    if models := view["models"]:
        yield f"{for_markdown(diff_render.total_text(view))}\n"
        yield "| model | | what each machine will do | why | cost |\n|---|---|---|---|---|"
        yield from map(_row, models[:MOST_ROWS])
        yield f"\n({len(models) - MOST_ROWS} more models)\n" if len(models) > MOST_ROWS else ""
    for problem in by_cause(view["problems"]):
        text = f"{problem_line(problem)}{diff_render.age(problem)} {problem['hint']}"
        yield f"- :x: {for_markdown(text)}"
    yield from (f"- :warning: {for_markdown(problem_line(warning))}" for warning in by_cause(view["warnings"]))
    yield ""
    yield from _policy_rows(view["policies"])
    for rollout in view["rollouts"]:
        yield f"{for_markdown(diff_render.rollout_title(rollout))}:\n"
        yield from (f"1. {for_markdown(line)}" for line in diff_render.rollout_lines(rollout))
        yield ""
    yield from (f"- :warning: {for_markdown(warning)}" for _, warning in diff_render.machine_warnings(view))
    yield from (details(diff_render.group_title(group), diff_render.group_rows(group)) for group in view["machines"])
    yield from (details(diff_render.template_title(one), diff_render.template_rows(one)) for one in view["templates"])
    for model in models:
        if rows := list(_diff_rows(model)):
            yield details(f"{model['name']}: fields", rows)


def _policy_rows(results: list[Shown]) -> Iterator[str]:
    """A line for each rule that a model does not meet."""
    if not results:
        return
    yield "| model | policy | rule | result | |\n|---|---|---|---|---|"
    for one in results[:MOST_ROWS]:
        subject = variant_name(one["model"], one["precision"]) if one["precision"] else one["model"]
        place = f"{one['policyFile']}:{one['policyLine']}"
        result = one["result"] + ("" if one["new"] else " (as before)")
        yield markdown_row((subject, f"{one['policy']} ({place})", one["rule"], result, one["message"]))
    yield f"\n({len(results) - MOST_ROWS} more)\n" if len(results) > MOST_ROWS else ""


def _row(model: Shown) -> str:
    by_name = grouped(model["changes"], lambda change: change["variant"] or "artifact")
    steps = [f"{name}: {', '.join(map(action_word, changes))}" for name, changes in by_name.items()]
    steps += [f"held back: {hold['variant']}" for hold in model["held"]]
    reasons = dict.fromkeys(one["reason"] for one in (*model["changes"], *model["held"]))
    costs = dict.fromkeys(diff_render.change_cost(change, model) for change in model["changes"])
    cells = model["name"], model["declared"], "; ".join(steps) or "nothing", ", ".join(reasons)
    return markdown_row((*cells, "; ".join(filter(None, costs))))


def _diff_rows(model: Shown) -> Iterator[str]:
    """What goes, what comes; each field once, whichever steps it forces."""
    changed: dict[str, tuple[str, str]] = {}
    for change in model["changes"]:
        for name in change["forcedBy"]:
            changed.setdefault(name, _replaced(name, change["before"][name], change["after"][name]))
    yield from (row for rows in changed.values() for row in rows)
    yield from (f"! {row}" for row in diff_render.declared_rows(model))
    yield from (f"! {line}" for line in diff_render.choice_lines(model))
    yield from (f"! {held_text(held)}" for held in model["held"])
