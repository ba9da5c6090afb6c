"""A plan, and how a pass ended, for a terminal and as GitHub's annotations. Reads the JSON view (reports.view) only;
the comment of a pull request is in reports.pull_request."""

from collections.abc import Sequence

from reconciler.domain.policy.policy import WARN
from reconciler.domain.reasons import Reason
from reconciler.domain.text.quoting import count_of
from reconciler.planner.precision_choice import OF_MACHINE
from reconciler.reports.status import working_lines
from reconciler.reports.text import (
    MOST_NOTICES,
    Shown,
    action_word,
    actions_text,
    annotation,
    annotations,
    cost_text,
    gate_lines,
    held_text,
    terminal_lines,
    value_text,
    verdict_line,
)

MOST_LEFT = 5  # changes that are named at the end of a pass

_MEANINGS = {reason.value: reason.text for reason in Reason}

_SIGNS = {"measure": "?", "verify": "?", "repair": "~", "retire": "-", "prune": "-"}


def summary(view: Shown) -> str:
    """One line: what would happen, in how many places."""
    held = f"; {len(view['held'])} held back" if view["held"] else ""
    wrong = f"; {count_of(len(view['problems']), 'problem')}" if view["problems"] else ""
    others = len(view["notSelected"])
    elsewhere = f"; {others} model{'s are' if others > 1 else ' is'} not for this machine" if others else ""
    return f"{actions_text(view['changes'])}{held}{wrong}{elsewhere}"


def plan_text(view: Shown) -> str:
    body = [line for change in view["changes"] for line in _change_lines(change)]
    body += [f"! {held_text(held)}" for held in view["held"]]
    body += [f". {one['message']} ({one['reason']})" for one in view["later"]]
    body += [f"? {_policy_text(one)}" for one in view["policies"] if one["result"] == WARN]
    body += [f". {one['model']}: not for this machine: {one['message']}" for one in view["notSelected"]]
    body += [f". {one['model']}: precision {one['message']}" for one in view.get("chosen", ())]
    body += [*gate_lines(view), *(f". {line}" for line in working_lines(view.get("working")))]
    head = [f"revision {view['revision']}", ""] if view["revision"] else []
    return terminal_lines([*head, *body, *([""] if body else []), f"Plan: {summary(view)}."])


def _policy_text(one: Shown) -> str:
    subject = f"{one['model']}-{one['precision']}" if one["precision"] else one["model"]
    rule = f", rule {one['rule']}" if one["rule"] else ""
    return f"{subject}: policy {one['policy']}{rule} ({one['policyFile']}:{one['policyLine']}) warns: {one['message']}"


def _change_lines(change: Shown) -> list[str]:
    cost = cost_text(change["cost"])
    step = f"{_SIGNS.get(change['action'], '+')} {action_word(change):<8} {target(change)}  ({change['reason']})"
    return [f"{step}  {cost}" if cost else step, *(f"    {row}" for row in field_rows(change))]


def target(change: Shown, name: str = "") -> str:
    """What a change is about: an id, or a variant and where its bytes come from. `name` is for what has no id."""
    after, before = change["after"] or {}, change["before"] or {}
    nameless = "source" if "source" in before else "artifact"
    name = name or change["variant"] or f"{nameless} {change['buildKey'][:19]}"
    if "id" in after:
        return str(after["id"])
    if change["action"] == "fetch":
        return f"{name} from {after['repo']}@{str(after['revision'])[:12]}"
    if change["action"] == "pull":
        return f"{name} from {after['registry']}"
    return ", ".join(before["ids"]) if "ids" in before else str(before.get("id", name))


def field_rows(change: Shown) -> list[str]:
    """`field: old -> new` for every field that forced the change. Shown once, on the step that begins the release."""
    before, after = change["before"] or {}, change["after"] or {}
    if "meanwhile" in after:
        return [str(after["meanwhile"])]
    if "confirmed" in after:
        return [f"confirmed {after['confirmed']}"]
    if change["action"] not in ("fetch", "pull", "convert", "measure", "verify", "repair"):
        return []
    return [
        f"{name}: {value_text(before[name])} -> {value_text(after.get(name))}" if name in before else str(name)
        for name in change["forcedBy"]
    ]


def pass_text(view: Shown) -> str:
    """How a pass ended; its steps were printed while they happened."""
    done = len(view["outcomes"])
    if view["converged"]:
        ending = f"Converged: {count_of(done, 'change')} made." if done else "Converged: nothing to do."
    else:
        unfit = sum(one["code"] in OF_MACHINE for one in view["problems"])
        counts = (
            (sum(one["status"] == "failed" for one in view["outcomes"]), "step failed", "steps failed"),
            (len(view["held"]), "held back", "held back"),
            (len(view["problems"]) - unfit, "problem in the manifests", "problems in the manifests"),
            (unfit, "model that cannot run here", "models that cannot run here"),
            (
                len(view["remaining"]),
                *(f"{what} left for the next `reconciler apply`" for what in ("change", "changes")),
            ),
        )
        ending = f"Not converged: {', '.join(count_of(*one) for one in counts if one[0])}."
    return terminal_lines([*(f"! {held_text(held)}" for held in view["held"]), *_left_lines(view["remaining"]), ending])


def _left_lines(left: Sequence[Shown]) -> list[str]:
    """The changes that a second look still finds to do, each with why it is needed."""
    named = [(f"{action_word(one)} {target(one)}", one["reason"]) for one in left[:MOST_LEFT]]
    lines = [f". left: {what} ({why}): {_MEANINGS[why]}" for what, why in named]
    more = len(left) - len(lines)
    return [*lines, f". left: {more} more, which `reconciler plan` shows"] if more else lines


def plan_github(view: Shown) -> str:
    missed = [one for one in view["gates"] if one["status"] == "Failed" and not one["rejects"]]
    return annotations(
        view["problems"],
        view["warnings"],
        *(annotation("warning", f"{h['variant']}: held back: {h['reason']}: {h['message']}") for h in view["held"]),
        *(annotation("warning", f"{one['variant']}: {verdict_line(one)}") for one in missed[:MOST_NOTICES]),
        *(annotation("notice", _change_lines(change)[0]) for change in view["changes"][:MOST_NOTICES]),
        annotation("notice", f"reconciler: {summary(view)}"),
    )
