"""The JSON view of a plan, of a pass and of problems: the one source that every renderer reads, so that text and
JSON cannot disagree. Plain dicts, camelCase, with a formatVersion."""

from collections.abc import Iterable

from reconciler.domain.changes import Change, Cost
from reconciler.domain.errors import Problem
from reconciler.domain.measured import Answer
from reconciler.domain.plain_data import as_dict
from reconciler.domain.plan import Outcome, Plan
from reconciler.domain.verdict import Verdict
from reconciler.planner.difference import camel
from reconciler.reports.change_view import after_view, before_view

FORMAT_VERSION = 1

View = dict[str, object]


def plan_view(plan: Plan, problems: Iterable[Problem] = (), warnings: Iterable[Problem] = ()) -> View:
    return {
        "formatVersion": FORMAT_VERSION,
        "revision": plan.revision,
        "changes": [_change(change) for change in plan.changes],
        "held": [as_dict(held) for held in plan.held],
        "later": [as_dict(held) for held in plan.later],
        "gates": [
            {"variant": variant, **verdict_view(verdict), "misses": list(verdict.misses)}
            for variant, verdicts in sorted(plan.verdicts.items())
            for verdict in verdicts
        ],
        "notSelected": [{"model": model, "message": why} for model, why in sorted(plan.not_selected.items())],
        "problems": [problem_view(problem) for problem in problems],
        "warnings": [problem_view(warning) for warning in warnings],
    }


def verdict_view(verdict: Verdict) -> View:
    """Without the answers that were wrong."""
    view = as_dict(verdict)
    del view["misses"]
    return view


def problem_view(problem: Problem) -> View:
    return as_dict(problem)


def problems_view(problems: Iterable[Problem], warnings: Iterable[Problem] = ()) -> View:
    return {
        "formatVersion": FORMAT_VERSION,
        "problems": [problem_view(problem) for problem in problems],
        "warnings": [problem_view(warning) for warning in warnings],
    }


def pass_view(outcomes: Iterable[Outcome], remaining: Plan, problems: Iterable[Problem], converged: bool) -> View:
    """What a pass did, and what it left."""
    return {
        "formatVersion": FORMAT_VERSION,
        "revision": remaining.revision,
        "converged": converged,
        "outcomes": [_outcome(outcome) for outcome in outcomes],
        "remaining": [_change(change) for change in remaining.changes],
        "held": [as_dict(held) for held in remaining.held],
        "problems": [problem_view(problem) for problem in problems],
    }


def _outcome(outcome: Outcome) -> View:
    return {
        "status": outcome.status,
        "seconds": round(outcome.seconds, 3),
        "code": outcome.code,
        "message": outcome.message,
        "hint": outcome.hint,
        **_change(outcome.change),
    }


def answer_view(identity: str, answer: Answer) -> View:
    return {"formatVersion": FORMAT_VERSION, "id": identity} | {camel(k): v for k, v in as_dict(answer).items()}


def _change(change: Change) -> View:
    view: View = {
        "action": change.action,
        "reason": change.reason,
        "variant": change.variant,
        "forcedBy": list(change.forced_by),
        "before": before_view(change),
        "after": after_view(change),
        "cost": cost_view(change.cost),
    }
    if change.build_key:
        view["buildKey"] = change.build_key
    return view


def cost_view(cost: Cost) -> View:
    return {camel(name): value for name, value in as_dict(cost).items()}
