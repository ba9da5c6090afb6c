"""A comparison of two commits for a terminal and for GitHub's annotations. Reads the JSON view (reports.diff_view)
only; the comment of a pull request is in reports.pull_request."""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from reconciler.domain.text.escape import for_annotation, for_annotation_property, for_terminal
from reconciler.domain.text.units import size_text
from reconciler.reports.gates_text import change_line
from reconciler.reports.render import problem_annotation, problem_line

Shown = Mapping[str, Any]

MOST_NOTICES = 9  # GitHub shows ten of a kind for a step
LONGEST_VALUE = 200  # characters
MOST_EXAMPLE_LINES = 200
MOST_NAMED = 20

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "invalid": "!", "unchanged": "~"}
_ORDER = ("fetch", "convert", "measure", "verify", "register", "repair", "retire", "prune")


def summary(view: Shown) -> str:
    """One line: how many models, and what machines will do."""
    counts = {kind: sum(model["declared"] == kind for model in view["models"]) for kind in _SIGNS}
    models = [f"{n} {kind}" for kind, n in counts.items() if n and kind != "unchanged"]
    parts = [", ".join(models) + " model(s)" if models else "no model changed", actions_text(view)]
    held = sum(len(model["held"]) for model in view["models"])
    parts += [f"{held} held back"] if held else []
    parts += [problems_count(view)] if view["problems"] else []
    return "; ".join(part for part in parts if part)


def actions_text(view: Shown) -> str:
    actions = [change["action"] for model in view["models"] for change in model["changes"]]
    return ", ".join(f"{actions.count(one)} to {one}" for one in _ORDER if one in actions) or "nothing to do"


def problems_count(view: Shown) -> str:
    new = sum(problem["new"] for problem in view["problems"])
    old = len(view["problems"]) - new
    return " and ".join([f"{new} new problem(s)"] * bool(new) + [f"{old} known problem(s)"] * bool(old))


def diff_text(view: Shown) -> str:
    lines = [f"{_side(view['base'])} -> {_side(view['head'])}", ""]
    for model in view["models"]:
        lines += [*_model_lines(model), ""]
    for template in view["templates"]:
        lines += [template_title(template), *(f"    {row}" for row in template_rows(template)), ""]
    lines += [cost_text(view)] if view["models"] else []
    for group in view["machines"]:
        lines += ["", group_title(group), *(f"    {row}" for row in group_rows(group))]
    lines += [f"error ({_age(p)}): {problem_line(p)}" for p in view["problems"]]
    lines += [f"warning: {problem_line(w)}" for w in view["warnings"]]
    lines.append(f"Diff: {summary(view)}.")
    return "\n".join(for_terminal(line) for line in lines) + "\n"


def _side(side: Shown) -> str:
    short = side["commit"][:12]
    return short if side["commit"].startswith(side["revision"]) else f"{side['revision']} ({short})"


def _model_lines(model: Shown) -> Iterator[str]:
    yield f"{_SIGNS[model['declared']]} {model['name'] or '(no model)'}  ({model['declared']})"
    yield from (f"    {row}" for row in declared_rows(model))
    for change in model["changes"]:
        yield f"    {change['action']:<8} {change['variant'] or 'artifact'}  ({change['reason']}){_cost(change, model)}"
        yield from (f"        {row}" for row in changed_rows(change))
    yield from (f"    ! {h['variant']}: held back ({h['reason']}): {h['message']}" for h in model["held"])


def declared_rows(model: Shown) -> list[str]:
    """Fields that no change names: what only the manifest says differently."""
    named = {name for change in model["changes"] for name in change["forcedBy"]}
    told = [field for field in model["fields"] if not any(field["name"].startswith(name) for name in named)]
    return [f"{field['name']}: {said(field['before'])} -> {said(field['after'])}" for field in told]


def changed_rows(change: Shown) -> list[str]:
    """`field: old -> new`, on the step that begins the release."""
    if change["action"] not in ("fetch", "convert", "measure", "verify"):
        return []
    before, after = change["before"], change["after"]
    return [f"{name}: {said(before[name])} -> {said(after[name])}" for name in change["forcedBy"]]


def said(held: object) -> str:
    if held is None:
        return "not set"
    text = ", ".join(map(str, held)) if isinstance(held, list | tuple) else str(held)
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_VALUE else f"{line[:LONGEST_VALUE]}..."


def _cost(change: Shown, model: Shown) -> str:
    text = change_cost(change, model)
    return f"  {text}" if text else ""


def change_cost(change: Shown, model: Shown) -> str:
    cost = change["cost"]
    if change["action"] == "convert" and model["costUnknown"]:
        return "cost unknown here"
    parts = [f"download {size_text(cost['downloadBytes'])}"] if cost["downloadBytes"] else []
    if cost["diskBytes"]:
        parts.append(f"{'+' if cost['diskBytes'] > 0 else ''}{size_text(cost['diskBytes'])}")
    parts += [f"peak {size_text(cost['peakDiskBytes'])}"] if cost["peakDiskBytes"] else []
    parts += [f"about {minutes(cost['seconds'])}"] if cost["seconds"] is not None else []
    return ", ".join(parts)


def cost_text(view: Shown) -> str:
    """Every machine that serves BASE: what it downloads, what its disk holds, how long it works."""
    cost, disk = view["cost"], view["disk"]
    more = "" if cost["known"] else ", and what cannot be told here"
    sizes = " -> ".join(
        f"{size_text(disk[f'{name}Bytes'])}{meaning}"
        for name, meaning in (("before", ""), ("peak", " at the peak"), ("after", ""))
    )
    time = minutes(cost["seconds"]) if cost["seconds"] is not None else "unknown: no history"
    return f"Each machine: download {size_text(cost['downloadBytes'])}; disk {sizes}{more}; time {time}."


def minutes(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def group_title(group: Shown) -> str:
    """Which machines, and how old their reports are."""
    names = ", ".join(f"{_name(one)} (report: {_days(one)})" for one in group["machines"][:MOST_NAMED])
    more = len(group["machines"]) - MOST_NAMED
    return f"{len(group['machines'])} machine(s): {names}{f' and {more} more' if more > 0 else ''}"


def _name(machine: Shown) -> str:
    """With its report's file, where another report has the same name."""
    return f"{machine['name']} in {machine['file']}" if machine.get("ambiguous") else str(machine["name"])


def _days(machine: Shown) -> str:
    days = machine["ageDays"]
    if days is None:
        return "of unknown age!"
    return f"{days:g} days old{'!' if machine['old'] else ''}"


def group_rows(group: Shown) -> list[str]:
    """Steps, what is held back, and what will fail and why."""
    rows = [f"{one['action']} {one['variant'] or 'artifact'} ({one['reason']})" for one in group["changes"]]
    rows += [f"will fail: {f['variant']}: {f['kind']}: {f['message']}" for f in group["failures"]]
    failing = {failure["variant"] for failure in group["failures"]}
    rows += [
        f"held back: {h['variant']} ({h['reason']}): {h['message']}"
        for h in group["held"]
        if h["variant"] not in failing
    ]
    rows += [f"gates of {one['variant']}: {change_line(one)}" for one in group["gates"]]
    seconds = group["cost"]["seconds"]
    rows += [f"time {minutes(seconds)}"] if seconds is not None else []
    return rows or ["nothing to do"]


def machine_warnings(view: Shown) -> list[tuple[str, str]]:
    """(file, what to know) of machines that will fail, or whose report is too old to be believed."""
    found = []
    for group in view["machines"]:
        for machine in group["machines"]:
            for one in group["failures"]:
                told = f"{machine['name']} will fail: {one['variant']}: {one['kind']}: {one['message']}"
                found.append((machine["file"], told))
            if missed := [one for one in group["gates"] if _is_missed(one)]:
                told = ", ".join(f"{one['variant']}: {one['gate']}" for one in missed[:MOST_NAMED])
                many = f"{len(missed)} more bars" if len(missed) > 1 else "one more bar"
                found.append((machine["file"], f"{machine['name']} will miss {many}: {told}"))
            if machine["old"]:
                found.append((machine["file"], f"the report of {machine['name']} is {_days(machine)}"))
    return found


def _is_missed(change: Shown) -> bool:
    before, after = change["before"], change["after"]
    return after is not None and after["rejects"] and (before is None or not before["rejects"])


def template_title(template: Shown) -> str:
    first, *others = template["models"]
    names = f"{first} and {len(others)} more" if others else first
    return f"template of {names}: {template['before']['origin']} -> {template['after']['origin']}{_tokens(template)}"


def _tokens(template: Shown) -> str:
    """For the example conversation, with the first model's tokenizer."""
    if template["tokensDifference"] is None:
        return ""
    about = "" if template["exact"] else "~"
    counts = f"{about}{template['before']['tokens']} -> {about}{template['after']['tokens']}"
    return f" (example: {counts} tokens, {template['tokensDifference']:+d})"


def template_rows(template: Shown) -> list[str]:
    """The example as a diff. Line ends are part of a prompt, so a text that does not end in one says so."""
    rows = []
    for side, sign in (("before", "-"), ("after", "+")):
        one = template[side]
        if one["reason"]:
            rows.append(f"{sign} not rendered: {one['reason']}")
    if rows:
        return rows
    before, after = (_example_lines(template[side]["text"]) for side in ("before", "after"))
    return list(_line_diff(before, after))[:MOST_EXAMPLE_LINES]


def _example_lines(text: str) -> list[str]:
    lines = [line if len(line) <= LONGEST_VALUE else f"{line[:LONGEST_VALUE]}..." for line in text.split("\n")]
    last = lines.pop()
    return [*lines, f"{last} (no line end)"] if last else lines


def _line_diff(before: list[str], after: list[str]) -> Iterator[str]:
    matcher = SequenceMatcher(a=before[:MOST_EXAMPLE_LINES], b=after[:MOST_EXAMPLE_LINES], autojunk=False)
    for kind, start, end, other, stop in matcher.get_opcodes():
        if kind == "equal":
            yield from (f"  {line}" for line in before[start:end])
        else:
            yield from (f"- {line}" for line in before[start:end])
            yield from (f"+ {line}" for line in after[other:stop])


def _age(problem: Shown) -> str:
    return "new" if problem["new"] else "was there before"


def diff_github(view: Shown) -> str:
    """Annotations: one per problem at its file and line, one per model that changes, one for the summary."""
    lines = [problem_annotation(_aged(problem)) for problem in view["problems"]]
    lines += [problem_annotation(warning, "warning") for warning in view["warnings"]]
    lines += [
        f"::warning file={for_annotation_property(file)}::{for_annotation(told)}"
        for file, told in machine_warnings(view)[:MOST_NOTICES]
    ]
    lines += [_notice(model) for model in view["models"][:MOST_NOTICES]]
    lines.append(f"::notice::{for_annotation('reconciler: ' + summary(view))}")
    return "\n".join(lines) + "\n"


def _aged(problem: Shown) -> Shown:
    if problem["new"]:
        return problem
    return {**problem, "message": f"{problem['message']} (this was there before)"}


def _notice(model: Shown) -> str:
    place = f" file={for_annotation_property(model['file'])},line={model['line']}" if model["file"] else ""
    gone = model["declared"] == "removed"  # no such file in what GitHub shows
    steps = ", ".join(
        f"{change['action']} {change['variant'] or 'artifact'} ({change['reason']})" for change in model["changes"]
    )
    told = steps or "; ".join(h["message"] for h in model["held"]) or "nothing to do"
    return f"::notice{'' if gone else place}::{for_annotation(model['name'] + ': ' + told)}"
