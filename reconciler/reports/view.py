"""The JSON view of a plan, of a pass and of problems: the one source that every renderer reads, so that text and
JSON cannot disagree. Plain dicts, camelCase, with a formatVersion."""

from collections.abc import Iterable

from reconciler.domain import changes as kinds
from reconciler.domain.errors import Problem
from reconciler.domain.machine.trust import Origin
from reconciler.domain.plain_data import as_dict
from reconciler.domain.plan import Outcome, Plan
from reconciler.domain.policy.policy import PASS, PolicyResult
from reconciler.domain.text.names import json_name
from reconciler.domain.verdict import Verdict

FORMAT_VERSION = 1

View = dict[str, object]


def plan_view(
    plan: Plan,
    problems: Iterable[Problem] = (),
    warnings: Iterable[Problem] = (),
    policies: Iterable[PolicyResult] = (),
) -> View:
    return {
        "formatVersion": FORMAT_VERSION,
        "revision": plan.revision,
        "changes": [change_view(change) for change in plan.changes],
        "held": [as_dict(held) for held in plan.held],
        "later": [as_dict(held) for held in plan.later],
        "gates": [
            {"variant": variant, **verdict_view(verdict), "misses": list(verdict.misses)}
            for variant, verdicts in sorted(plan.verdicts.items())
            for verdict in verdicts
        ],
        "notSelected": [{"model": model, "message": why} for model, why in sorted(plan.not_selected.items())],
        "chosen": [{"model": model, "message": why} for model, why in sorted(plan.chosen.items())],
        "policies": policies_view(policies),
        "problems": [as_dict(problem) for problem in problems],
        "warnings": [as_dict(warning) for warning in warnings],
    }


def policies_view(results: Iterable[PolicyResult]) -> list[View]:
    """What rules of policies say of models, without what they take."""
    return [policy_view(one) for one in results if one.result != PASS]


def policy_view(one: PolicyResult) -> View:
    view = camel_view(one)
    del view["fetches"], view["retires"]
    return view


def verdict_view(verdict: Verdict) -> View:
    """Without the answers that were wrong."""
    view = as_dict(verdict)
    del view["misses"]
    return view


def pass_view(outcomes: Iterable[Outcome], remaining: Plan, problems: Iterable[Problem], converged: bool) -> View:
    return {
        "formatVersion": FORMAT_VERSION,
        "revision": remaining.revision,
        "converged": converged,
        "outcomes": [
            {
                "status": outcome.status,
                "seconds": round(outcome.seconds, 3),
                "code": outcome.code,
                "message": outcome.message,
                "hint": outcome.hint,
                **change_view(outcome.change),
            }
            for outcome in outcomes
        ],
        "remaining": [change_view(change) for change in remaining.changes],
        "held": [as_dict(held) for held in remaining.held],
        "problems": [as_dict(problem) for problem in problems],
    }


def camel_view(one: object) -> View:
    """The fields of a dataclass by their names in JSON."""
    return {json_name(name): value for name, value in as_dict(one).items()}


def origin_view(origin: Origin | None) -> View | None:
    """Where an artifact came from that others built; null for one of this machine's own."""
    if origin is None:
        return None
    return {"registry": origin.registry, "signedBy": origin.signed_by or None, "since": origin.since}


def change_view(change: kinds.Change) -> View:
    before, after = before_and_after(change)
    view: View = {
        "action": change.action,
        "word": kinds.word_of(change),
        "reason": change.reason,
        "variant": change.variant,
        "forcedBy": list(change.forced_by),
        "before": before,
        "after": after,
        "cost": camel_view(change.cost),
    }
    return view | {"buildKey": change.build_key} if change.build_key else view


def before_and_after(change: kinds.Change) -> tuple[View | None, View | None]:
    """What a change replaces, and what it leaves behind."""
    before: View | None = None
    after: View | None = None
    match change:
        case kinds.FetchSource(source=source):
            after = {"source": source.digest, "fetch": source.fetch_key, "repo": source.repo}
            after |= {"revision": source.revision, "sizeBytes": source.size}
        case kinds.Retire(serves_instead=instead):
            before = {"id": change.id, "registered": change.registered}
            after = {"serves": instead.number, "because": instead.message} if instead else None
        case kinds.PruneVariant():
            before = {"ids": list(change.ids)}
            if change.makes_way_for:
                successor = "its successor" if change.makes_way_for == change.variant else change.makes_way_for
                after = {"meanwhile": f"{change.variant} is down until {successor} is registered"}
            elif change.confirmed:
                after = {"confirmed": "by a PruneConfirmation in git"}
        case kinds.PruneArtifact():
            before = {"artifact": change.artifact, "buildKey": change.build_key, "sizeBytes": change.size}
        case kinds.PruneSource():
            before = {"source": change.build_key, "sizeBytes": change.size}
        case kinds.RepairArtifact():
            before, after = {"damage": list(change.damage)}, {"buildKey": change.build_key}
        case kinds.RepairRelease():
            before, after = {"damage": list(change.forced_by)}, {"id": change.id, "release": change.release.digest}
        case _:
            return _of_release(change)
    return before, after


def _of_release(
    change: kinds.Convert | kinds.Pull | kinds.Measure | kinds.Verify | kinds.Register,
) -> tuple[View | None, View]:
    """With the old and the new value of each field that forced it."""
    if isinstance(change, kinds.Convert | kinds.Pull):
        recipe = change.release.recipe
        leaves: View = {"buildKey": recipe.build_key, "precision": recipe.precision, "source": recipe.source}
        leaves |= {"asIs": True} if recipe.as_is else {}
        if isinstance(change, kinds.Pull):
            leaves |= {"artifact": change.offer.digest, "registry": change.offer.registry}
            leaves |= {"signedBy": change.offer.signed_by} if change.offer.signed_by else {}
    else:
        leaves = {"id": change.id, "release": change.release.digest}
    if isinstance(change, kinds.Measure):
        leaves["measure"] = change.measure_key
    elif isinstance(change, kinds.VerifyServed):
        leaves["runtime"] = dict(change.installed)
    fields = change.field_changes
    before = None if fields is None else {one.name: one.before for one in fields}
    return before, leaves | {one.name: one.after for one in fields or ()}
