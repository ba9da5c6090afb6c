"""Plans and problems for people. Every function reads the JSON view (reports.view) and returns text; values that come
from manifests are escaped for where they will be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.domain.escape import for_annotation, for_annotation_property, for_markdown, for_terminal
from reconciler.domain.units import size_text
from reconciler.reports.gates_text import by_variant, plan_lines, table, tally, verdict_line
from reconciler.reports.working_text import working_lines

MARKER = "<!-- reconciler-plan -->"
LONGEST_COMMENT = 65_536
MOST_NOTICES = 9  # GitHub shows ten of a kind for a step

_SIGNS = {
    "fetch": "+",
    "convert": "+",
    "measure": "?",
    "verify": "?",
    "register": "+",
    "repair": "~",
    "retire": "-",
    "prune": "-",
}


def summary(view: Mapping[str, Any]) -> str:
    """One line: what would happen, in how many places."""
    counts = {action: sum(change["action"] == action for change in view["changes"]) for action in _SIGNS}
    done = ", ".join(f"{n} to {action}" for action, n in counts.items() if n) or "nothing to do"
    held = f"; {len(view['held'])} held back" if view["held"] else ""
    wrong = f"; {len(view['problems'])} problem(s)" if view["problems"] else ""
    others = len(view.get("notSelected", ()))
    elsewhere = f"; {others} model{'s are' if others > 1 else ' is'} not for this machine" if others else ""
    return f"{done}{held}{wrong}{elsewhere}"


def plan_text(view: Mapping[str, Any]) -> str:
    lines = [f"revision {view['revision']}", ""] if view["revision"] else []
    for change in view["changes"]:
        lines.extend(_change_lines(change))
    lines.extend(f"! {h['variant']}: held back ({h['reason']}): {h['message']}" for h in view["held"])
    lines.extend(f". {h['message']} ({h['reason']})" for h in view["later"])
    lines.extend(
        f". {one['model']}: not for this machine: {one['message']}" for one in view.get("notSelected", ())
    )
    now = [*plan_lines(view), *(f". {line}" for line in working_lines(view.get("working")))]
    lines.extend(now)
    if view["changes"] or view["held"] or view["later"] or view.get("notSelected") or now:
        lines.append("")
    lines.append(f"Plan: {summary(view)}.")
    return "\n".join(for_terminal(line) for line in lines) + "\n"


def _change_lines(change: Mapping[str, Any]) -> list[str]:
    sign = _SIGNS.get(change["action"], "*")
    name = change["variant"] or f"{_nameless(change)} {(change.get('buildKey') or '')[:19]}"
    lines = [
        f"{sign} {change['action']:<8} {_target(change, name)}  ({change['reason']}){_cost_text(change['cost'])}"
    ]
    lines.extend(f"    {row}" for row in _field_rows(change))
    return lines


def _nameless(change: Mapping[str, Any]) -> str:
    return "source" if "source" in (change["before"] or {}) else "artifact"


def _target(change: Mapping[str, Any], name: str) -> str:
    after, before = change["after"] or {}, change["before"] or {}
    if "id" in after:
        return str(after["id"])
    if change["action"] == "fetch":
        return f"{name} from {after['repo']}@{str(after['revision'])[:12]}"
    if "ids" in before:
        return ", ".join(before["ids"])
    return str(before.get("id", name))


def _field_rows(change: Mapping[str, Any]) -> list[str]:
    """`field: old -> new` for every field that forced the change. Shown once, on the step that begins the release."""
    before, after = change["before"] or {}, change["after"] or {}
    if "meanwhile" in after:
        return [str(after["meanwhile"])]
    if "confirmed" in after:
        return [f"confirmed {after['confirmed']}"]
    if change["action"] not in ("fetch", "convert", "measure", "verify", "repair"):
        return []
    return [
        f"{name}: {_said(before[name])} -> {_said(after.get(name))}" if name in before else str(name)
        for name in change["forcedBy"]
    ]


def _said(held: object) -> str:
    return "not set" if held is None else str(held)


def _cost_text(cost: Mapping[str, Any]) -> str:
    parts = []
    if cost["downloadBytes"]:
        parts.append(f"download {size_text(cost['downloadBytes'])}")
    if cost["diskBytes"]:
        parts.append(f"{'+' if cost['diskBytes'] > 0 else ''}{size_text(cost['diskBytes'])}")
    if cost["peakDiskBytes"]:
        parts.append(f"peak {size_text(cost['peakDiskBytes'])}")
    if cost["seconds"] is not None:
        parts.append(f"about {cost['seconds']:.1f} s")
    return "  " + ", ".join(parts) if parts else ""


def pass_text(view: Mapping[str, Any]) -> str:
    """How a pass ended, in a few lines; each step was already told while it happened."""
    lines = [f"! {h['variant']}: held back ({h['reason']}): {h['message']}" for h in view["held"]]
    failed = [o for o in view["outcomes"] if o["status"] == "failed"]
    if view["converged"]:
        done = len(view["outcomes"])
        lines.append(f"Converged: {done} change(s) made." if done else "Converged: nothing to do.")
    else:
        counts = (
            (len(failed), "step(s) failed"),
            (len(view["held"]), "held back"),
            (len(view["problems"]), "problem(s) in the manifests"),
            (len(view["remaining"]), "change(s) left"),
        )
        lines.append("Not converged: " + ", ".join(f"{n} {what}" for n, what in counts if n) + ".")
    return "\n".join(for_terminal(line) for line in lines) + "\n"


def plan_markdown(view: Mapping[str, Any]) -> str:
    """One sticky comment: hidden marker, one-line summary, a table, details per variant. Never over the limit."""
    lines = [MARKER, f"**reconciler**: {for_markdown(summary(view))}", ""]
    if view["changes"]:
        lines += ["| action | what | reason | cost |", "|---|---|---|---|"]
        lines += [_markdown_row(change) for change in view["changes"]]
        lines.append("")
    lines += [
        f"- {for_markdown(h['variant'])} is held back ({h['reason']}): {for_markdown(h['message'])}"
        for h in view["held"]
    ]
    lines += [f"- :x: {for_markdown(problem_line(p))}" for p in view["problems"]]
    lines += [f"- :warning: {for_markdown(problem_line(w))}" for w in view["warnings"]]
    lines += _markdown_details(view["changes"])
    lines += _markdown_gates(view)
    return _cut("\n".join(lines) + "\n")


def _markdown_row(change: Mapping[str, Any]) -> str:
    name = change["variant"] or (change.get("buildKey") or "")[:19]
    cells = (
        change["action"],
        for_markdown(_target(change, name)),
        change["reason"],
        _cost_text(change["cost"]).strip(),
    )
    return "| " + " | ".join(cells) + " |"


def _markdown_details(changes: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = []
    for change in changes:
        rows = _field_rows(change)
        if rows:
            head = f"<details><summary>{for_markdown(change['variant'])}: {change['action']}</summary>"
            body = "\n".join(for_terminal(row).replace("`", "'") for row in _diff_rows(change, rows))
            lines += ["", head, "", "```diff", body, "```", "", "</details>"]
    return lines


def _markdown_gates(view: Mapping[str, Any]) -> list[str]:
    lines = []
    for variant, verdicts in by_variant(view).items():
        head = f"<details><summary>gates of {for_markdown(variant)}: {tally(verdicts)}</summary>"
        lines += ["", head, "", *table(verdicts), "", "</details>"]
    return lines


def _diff_rows(change: Mapping[str, Any], rows: Iterable[str]) -> list[str]:
    """Fields as a diff shows them: what goes, what comes."""
    before, after = change["before"] or {}, change["after"] or {}
    if not any(name in before for name in change["forcedBy"]):
        return list(rows)
    return [
        line
        for name in change["forcedBy"]
        for line in (f"- {name}: {_said(before.get(name))}", f"+ {name}: {_said(after.get(name))}")
    ]


def _cut(text: str) -> str:
    if len(text.encode()) <= LONGEST_COMMENT:
        return text
    note = "\n\n(cut: the whole plan is in the job's log)\n"
    kept = text.encode()[: LONGEST_COMMENT - len(note)].decode(errors="ignore")
    return kept[: kept.rindex("\n")] + note


def plan_github(view: Mapping[str, Any]) -> str:
    """GitHub annotations: one line per problem or held change, and one for the summary."""
    lines = [problem_annotation(problem) for problem in view["problems"]]
    lines += [problem_annotation(warning, "warning") for warning in view["warnings"]]
    lines += [
        f"::warning::{for_annotation(h['variant'] + ': held back: ' + h['reason'] + ': ' + h['message'])}"
        for h in view["held"]
    ]
    lines += [
        f"::warning::{for_annotation(one['variant'] + ': ' + verdict_line(one))}"
        for one in view.get("gates", ())
        if one["status"] == "Failed" and not one["rejects"]
    ][:MOST_NOTICES]
    lines += [
        f"::notice::{for_annotation(_change_lines(change)[0])}" for change in view["changes"][:MOST_NOTICES]
    ]
    lines.append(f"::notice::{for_annotation('reconciler: ' + summary(view))}")
    return "\n".join(lines) + "\n"


def problem_annotation(problem: Mapping[str, Any], level: str = "error") -> str:
    place = f"file={for_annotation_property(problem['file'])}"
    if problem["line"]:
        place += f",line={problem['line']}"
    text = f"{problem['field']}: {problem['message']}" if problem["field"] else problem["message"]
    return f"::{level} {place},title={problem['code']}::{for_annotation(text)}"


def problem_line(problem: Mapping[str, Any]) -> str:
    """file:line: field: message"""
    where = f"{problem['file']}:{problem['line']}" if problem["line"] else problem["file"]
    field = f"{problem['field']}: " if problem["field"] else ""
    return f"{where}: {field}{problem['message']}"


def problems_text(problems: Sequence[Mapping[str, Any]], level: str = "error") -> str:
    """`error: file:line: field: expected, got`, a blank line, `hint: ...`, for each."""
    blocks = []
    for problem in problems:
        block = f"{level}: {problem_line(problem)}\n"
        if problem["hint"]:
            block += f"\nhint: {problem['hint']}\n"
        blocks.append(for_terminal(block))
    return "\n".join(blocks)
