"""Plans and problems for a terminal and as GitHub's annotations; the comment of a pull request is in
reports.pull_request.

Every function reads the JSON view (reports.view) and returns text; values that come from manifests are escaped for
where they will be shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.domain.text.escape import for_annotation, for_annotation_property, for_terminal
from reconciler.domain.text.units import size_text
from reconciler.reports.gates_text import plan_lines, verdict_line
from reconciler.reports.working_text import working_lines

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
    lines.extend(f". {one['model']}: not for this machine: {one['message']}" for one in view.get("notSelected", ()))
    now = [*plan_lines(view), *(f". {line}" for line in working_lines(view.get("working")))]
    lines.extend(now)
    if view["changes"] or view["held"] or view["later"] or view.get("notSelected") or now:
        lines.append("")
    lines.append(f"Plan: {summary(view)}.")
    return "\n".join(for_terminal(line) for line in lines) + "\n"


def _change_lines(change: Mapping[str, Any]) -> list[str]:
    sign = _SIGNS.get(change["action"], "*")
    name = change["variant"] or f"{_nameless(change)} {(change.get('buildKey') or '')[:19]}"
    lines = [f"{sign} {change['action']:<8} {target(change, name)}  ({change['reason']}){cost_text(change['cost'])}"]
    lines.extend(f"    {row}" for row in field_rows(change))
    return lines


def _nameless(change: Mapping[str, Any]) -> str:
    return "source" if "source" in (change["before"] or {}) else "artifact"


def target(change: Mapping[str, Any], name: str) -> str:
    after, before = change["after"] or {}, change["before"] or {}
    if "id" in after:
        return str(after["id"])
    if change["action"] == "fetch":
        return f"{name} from {after['repo']}@{str(after['revision'])[:12]}"
    if "ids" in before:
        return ", ".join(before["ids"])
    return str(before.get("id", name))


def field_rows(change: Mapping[str, Any]) -> list[str]:
    """`field: old -> new` for every field that forced the change. Shown once, on the step that begins the release."""
    before, after = change["before"] or {}, change["after"] or {}
    if "meanwhile" in after:
        return [str(after["meanwhile"])]
    if "confirmed" in after:
        return [f"confirmed {after['confirmed']}"]
    if change["action"] not in ("fetch", "convert", "measure", "verify", "repair"):
        return []
    return [
        f"{name}: {said(before[name])} -> {said(after.get(name))}" if name in before else str(name)
        for name in change["forcedBy"]
    ]


def said(held: object) -> str:
    return "not set" if held is None else str(held)


def cost_text(cost: Mapping[str, Any]) -> str:
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
    lines += [f"::notice::{for_annotation(_change_lines(change)[0])}" for change in view["changes"][:MOST_NOTICES]]
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
