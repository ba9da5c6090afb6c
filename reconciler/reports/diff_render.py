"""A comparison of two commits for a terminal and for GitHub's annotations. Reads the JSON view (reports.diff_view)
only; the comment of a pull request is in reports.pull_request."""

from collections.abc import Iterator
from difflib import SequenceMatcher

from reconciler.domain.text.quoting import count_of, few
from reconciler.domain.text.units import size_text
from reconciler.reports.render import field_rows
from reconciler.reports.text import (
    MOST_NOTICES,
    Shown,
    action_word,
    actions_text,
    annotation,
    annotations,
    by_cause,
    cost_text,
    cut,
    gate_change_line,
    held_text,
    place_of,
    problem_line,
    terminal_lines,
    time_text,
    value_text,
)

MOST_EXAMPLE_LINES = 200
MOST_NAMED = 20

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "invalid": "!", "unchanged": "~"}


def summary(view: Shown) -> str:
    """One line: how many models, and what machines will do."""
    declared = [model["declared"] for model in view["models"]]
    changed = [kind for kind in declared if kind != "unchanged"]
    models = [f"{changed.count(kind)} {kind}" for kind in _SIGNS if kind in changed]
    actions = actions_text(change for model in view["models"] for change in model["changes"])
    held = sum(len(model["held"]) for model in view["models"])
    new = sum(problem["new"] for problem in view["problems"])
    problems = (new, "new"), (len(view["problems"]) - new, "known")
    parts = [
        f"{', '.join(models)} {'model' if len(changed) == 1 else 'models'}" if models else "no model changed",
        actions,
        f"{held} held back" if held else "",
        " and ".join(count_of(number, f"{kind} problem") for number, kind in problems if number),
    ]
    return "; ".join(filter(None, parts))


def diff_text(view: Shown) -> str:
    lines = [f"{_side(view['base'])} -> {_side(view['head'])}", ""]
    for model in view["models"]:
        lines += [*_model_lines(model), ""]
    for template in view["templates"]:
        lines += [template_title(template), *(f"    {row}" for row in template_rows(template)), ""]
    lines += [total_text(view)] if view["models"] else []
    for rollout in view["rollouts"]:
        lines += ["", rollout_title(rollout), *(f"    {row}" for row in rollout_lines(rollout))]
    for group in view["machines"]:
        lines += ["", group_title(group), *(f"    {row}" for row in group_rows(group))]
    for problem in by_cause(view["problems"]):
        lines.append(f"error ({'new' if problem['new'] else 'was there before'}): {problem_line(problem)}")
    lines += [f"warning: {problem_line(warning)}" for warning in by_cause(view["warnings"])]
    return terminal_lines([*lines, f"Diff: {summary(view)}."])


def rollout_title(rollout: Shown) -> str:
    about = f" is about {', '.join(rollout['models'][:MOST_NAMED])}" if rollout["models"] else " is new or changed"
    return f"rollout {rollout['name']} ({rollout['where']}){about}"


def rollout_lines(rollout: Shown) -> Iterator[str]:
    """Who gets it when."""
    for ring in rollout["rings"]:
        name = f"ring {ring['ring']}: " if ring["ring"] else ""
        yield f"{name}{ring['who']}{_some(ring['machines'])}; {ring['when']}"


def _some(names: list[str]) -> str:
    return f" ({few(names, MOST_NAMED)})" if names else ""


def _side(side: Shown) -> str:
    short = side["commit"][:12]
    return short if side["commit"].startswith(side["revision"]) else f"{side['revision']} ({short})"


def _model_lines(model: Shown) -> Iterator[str]:
    why = ": it cannot be compared" if model["declared"] == "invalid" else ""
    yield f"{_SIGNS[model['declared']]} {model['name'] or '(no model)'}  ({model['declared']}{why})"
    yield from (f"    {row}" for row in declared_rows(model))
    for change in model["changes"]:
        cost = change_cost(change, model)
        target = f"{change['variant'] or 'artifact'}  ({change['reason']})"
        yield f"    {action_word(change):<8} {target}{'  ' * bool(cost)}{cost}"
        yield from (f"        {row}" for row in field_rows(change))
    yield from (f"    . {line}" for line in choice_lines(model))
    yield from (f"    ! {held_text(held)}" for held in model["held"])


def choice_lines(model: Shown) -> list[str]:
    """Of a model with `precisions: auto`."""
    text = f"each machine serves one of {', '.join(model['chooses'])}: its memory, disk and processors decide"
    return [text] if model["chooses"] else []


def _target(change: Shown) -> str:
    return f"{change['variant'] or 'artifact'} ({change['reason']})"


def declared_rows(model: Shown) -> list[str]:
    """Fields that differ in the manifest and that no change names."""
    named = tuple(name for change in model["changes"] for name in change["forcedBy"])
    fields = [field for field in model["fields"] if not field["name"].startswith(named)]
    return [f"{one['name']}: {value_text(one['before'])} -> {value_text(one['after'])}" for one in fields]


def change_cost(change: Shown, model: Shown) -> str:
    unknown = change["action"] == "convert" and model["costUnknown"]
    return "cost unknown here" if unknown else cost_text(change["cost"])


def total_text(view: Shown) -> str:
    """Every machine that serves BASE: what it downloads, what its disk holds, how long it works."""
    cost, disk = view["cost"], view["disk"]
    before, peak, after = (size_text(disk[f"{name}Bytes"]) for name in ("before", "peak", "after"))
    more = "" if cost["known"] else ", and what is unknown here"
    time = time_text(cost["seconds"]) if cost["seconds"] is not None else "unknown: no history"
    download = size_text(cost["downloadBytes"])
    who = "Each machine, at most" if any(model["chooses"] for model in view["models"]) else "Each machine"
    return f"{who}: download {download}; disk {before} -> {peak} at the peak -> {after}{more}; time {time}."


def group_title(group: Shown) -> str:
    """Which machines, and how old their reports are."""
    names = [f"{_name(one)} (report: {_days(one)})" for one in group["machines"]]
    return f"{count_of(len(names), 'machine')}: {few(names, MOST_NAMED)}"


def _name(machine: Shown) -> str:
    """With its report's file, where another report has the same name."""
    return f"{machine['name']} in {machine['file']}" if machine.get("ambiguous") else str(machine["name"])


def _days(machine: Shown) -> str:
    days = machine["ageDays"]
    return "of unknown age!" if days is None else f"{days:g} days old{'!' if machine['old'] else ''}"


def group_rows(group: Shown) -> list[str]:
    """Steps, what is held back, and what will fail and why."""
    failing = {failure["variant"] for failure in group["failures"]}
    held = [one for one in group["held"] if one["variant"] not in failing]
    seconds = group["cost"]["seconds"]
    rows = [
        *(f"{action_word(one)} {_target(one)}" for one in group["changes"]),
        *(f"precision of {one['model']}: {one['message']}" for one in group["chosen"]),
        *(f"will fail: {_failure(one)}" for one in group["failures"]),
        *(f"held back: {one['variant']} ({one['reason']}): {one['message']}" for one in held),
        *(f"gates of {one['variant']}: {gate_change_line(one)}" for one in group["gates"]),
    ]
    if seconds is not None:
        rows.append(f"time {time_text(seconds)}")
    return rows or ["nothing to do"]


def _failure(one: Shown) -> str:
    return f"{one['variant']}: {one['kind']}: {one['message']}"


def machine_warnings(view: Shown) -> list[tuple[str, str]]:
    """(file, warning) of machines that will fail, that miss more bars than before, or whose report is too old."""
    found = []
    for group in view["machines"]:
        rejecting = [one for one in group["gates"] if one["after"] and one["after"]["rejects"]]
        new = [one for one in rejecting if not (one["before"] and one["before"]["rejects"])]
        missed = [f"{one['variant']}: {one['gate']}" for one in new]
        many = f"{len(missed)} more bars" if len(missed) > 1 else "one more bar"
        for machine in group["machines"]:
            file, name = machine["file"], machine["name"]
            found += [(file, f"{name} will fail: {_failure(one)}") for one in group["failures"]]
            if missed:
                found.append((file, f"{name} will miss {many}: {', '.join(missed[:MOST_NAMED])}"))
            if machine["old"]:
                found.append((file, f"the report of {name} is {_days(machine)}"))
    return found


def template_title(template: Shown) -> str:
    """With the tokens of the example conversation, as the first model's tokenizer counts them."""
    before, after = template["before"], template["after"]
    title = f"template of {few(template['models'], 1)}: {before['origin']} -> {after['origin']}"
    if template["tokensDifference"] is None:
        return title
    about = "" if template["exact"] else "~"
    counts = f"{about}{before['tokens']} -> {about}{after['tokens']} tokens, {template['tokensDifference']:+d}"
    return f"{title} (example: {counts})"


def template_rows(template: Shown) -> list[str]:
    """The example as a diff. Line ends are part of a prompt, so a text that does not end in one says so."""
    sides = {"-": template["before"], "+": template["after"]}
    if failed := [f"{sign} not rendered: {side['reason']}" for sign, side in sides.items() if side["reason"]]:
        return failed
    before, after = (_example_lines(side["text"]) for side in sides.values())
    return list(_line_diff(before, after))[:MOST_EXAMPLE_LINES]


def _example_lines(text: str) -> list[str]:
    *lines, last = map(cut, text.split("\n"))
    return [*lines, f"{last} (no line end)"] if last else lines


def _line_diff(before: list[str], after: list[str]) -> Iterator[str]:
    matcher = SequenceMatcher(a=before[:MOST_EXAMPLE_LINES], b=after[:MOST_EXAMPLE_LINES], autojunk=False)
    for kind, start, end, other, stop in matcher.get_opcodes():
        if kind == "equal":
            yield from (f"  {line}" for line in before[start:end])
        else:
            yield from (f"- {line}" for line in before[start:end])
            yield from (f"+ {line}" for line in after[other:stop])


def diff_github(view: Shown) -> str:
    return annotations(
        [{**one, "message": one["message"] + age(one)} for one in view["problems"]],
        view["warnings"],
        *(annotation("warning", text, place_of(file)) for file, text in machine_warnings(view)[:MOST_NOTICES]),
        *(_notice(model) for model in view["models"][:MOST_NOTICES]),
        annotation("notice", f"reconciler: {summary(view)}"),
    )


def age(problem: Shown) -> str:
    return "" if problem["new"] else " (this was there before)"


def _notice(model: Shown) -> str:
    is_shown = model["file"] and model["declared"] != "removed"  # GitHub has no place for a file that is gone
    steps = ", ".join(f"{action_word(change)} {_target(change)}" for change in model["changes"])
    text = steps or "; ".join(held["message"] for held in model["held"]) or "nothing to do"
    place = place_of(model["file"], model["line"]) if is_shown else ""
    return annotation("notice", f"{model['name']}: {text}", place)
