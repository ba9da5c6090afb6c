"""The JSON view of a comparison of two commits: what `diff` shows, in whichever format. Plain dicts, camelCase.

`fleet_view` is the part about real machines (`--against`). Numbers of releases are left out: each machine counts its
own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from reconciler.domain.changes import Change, Convert, PruneVariant
from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model
from reconciler.domain.plain_data import as_dict, grouped
from reconciler.domain.plan import Plan
from reconciler.domain.policy.policy import PASS, PolicyResult
from reconciler.domain.rollout import Rollout
from reconciler.domain.text.names import model_of
from reconciler.fleet.comparison import FleetComparison, Side, changed_fields
from reconciler.fleet.forecast import Outlook, by_effect
from reconciler.planner.conditions import POLICY_DENIED, POLICY_WARNED
from reconciler.planner.rollout import rings_of
from reconciler.planner.rollout_status import forecast
from reconciler.reports.view import FORMAT_VERSION, View, change_view, policy_view, verdict_view
from reconciler.templates.rendering import TemplateChange

_OF_POLICIES = (POLICY_DENIED, POLICY_WARNED)  # codes of problems that name the line of a policy


def diff_view(one: FleetComparison) -> View:
    models = list(_models(one))
    known = not any(model["costUnknown"] for model in models)
    return {
        "formatVersion": FORMAT_VERSION,
        "path": one.path,
        "base": {"revision": one.base.revision, "commit": one.base.commit},
        "head": {"revision": one.head.revision, "commit": one.head.commit},
        "differs": bool(models or _other_rollouts(one)),
        "models": models,
        "cost": {**_total_cost(one.plan), "known": known},
        "disk": {f"{name}Bytes": size for name, size in as_dict(one.disk).items()},
        "templates": [_template(change) for change in one.templates],
        "machines": [],
        "rollouts": rollout_rows(one),
        "policies": _policies(one.head.policies, one.base.policies),
        "problems": _problems(one.head.problems, one.base.problems),
        "warnings": [w for w in _problems(one.head.warnings, one.base.warnings) if w["new"]],
    }


def _template(change: TemplateChange) -> View:
    """`tokensDifference` is null where one of them could not be rendered."""
    before, after = change.before, change.after
    return {
        "models": list(change.models),
        "before": {"origin": change.before_origin, **as_dict(before)},
        "after": {"origin": change.after_origin, **as_dict(after)},
        "tokensDifference": None if before.reason or after.reason else after.tokens - before.tokens,
        "exact": before.exact and after.exact,
    }


def _total_cost(plan: Plan) -> View:
    """Of all changes together; seconds only when those of every conversion are known."""
    costs = [change.cost for change in plan.changes]
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    converted = [change.cost.seconds for change in plan.changes if isinstance(change, Convert)]
    return {
        "downloadBytes": sum(cost.download_bytes for cost in costs),
        "diskBytes": sum(cost.disk_bytes for cost in costs),
        "seconds": round(sum(known), 3) if known and None not in converted else None,
    }


def _models(one: FleetComparison) -> Iterator[View]:
    """Every model that is declared differently, or that machines do something about, by name."""
    before, after = ({model.name: model for model in side.models} for side in (one.base, one.head))
    # The model that a variant, or an artifact's build key, belongs to.
    releases = [wanted.release for side in (one.base, one.head) for wanted in side.desired.wanted]
    owners = {name: release.model for release in releases for name in (release.variant, release.recipe.build_key)}
    changes = grouped(one.plan.changes, lambda change: owners.get(change.variant or change.build_key, ""))
    held = grouped(one.plan.held, lambda hold: owners.get(hold.variant, ""))
    for name in sorted({*before, *after, *changes, *held}):
        old, new = before.get(name), after.get(name)
        fields = changed_fields(old, new) if old != new else ()
        if fields or name in changes or name in held:
            where = new or old
            yield {
                "name": name,
                "file": where.file if where else "",
                "line": where.line if where else 0,
                "declared": _declared(old, new, bool(fields), one.head),
                "fields": [as_dict(field) for field in fields] if old and new else [],
                "costUnknown": name in one.head.unknown,
                "chooses": list(new.precisions) if new is not None and new.chooses else [],
                "changes": [_change(change, one.sources) for change in changes.get(name, ())],
                "held": [as_dict(hold) for hold in held.get(name, ())],
            }


def _declared(old: Model | None, new: Model | None, differs: bool, head: Side) -> str:
    """added | removed | changed | unchanged | invalid. A manifest that cannot be read any more is no removal."""
    if old is None:
        return "added" if new is not None else "unchanged"
    if new is None:
        is_there = old.name in head.broken or any(problem.file == old.file for problem in head.problems)
        return "invalid" if is_there else "removed"
    return "changed" if differs else "unchanged"


def _change(change: Change, sources: Mapping[str, str]) -> View:
    """Of what it replaces and leaves behind the forcing fields alone: ids and digests of releases are not those of any
    real machine."""
    view = change_view(change)
    view.pop("buildKey", None)
    for side in ("before", "after"):
        held: Any = view[side] or {}
        found = {name: held.get(name) for name in change.forced_by}
        view[side] = {name: sources.get(str(value), value) for name, value in found.items()}
    return view


def _problems(now: Iterable[Problem], before: Iterable[Problem]) -> list[View]:
    """A problem that moved to another line is not new, nor is one whose policy did."""

    def identity(problem: Problem) -> tuple[str, ...]:
        message = re.sub(r":\d+\)", ")", problem.message) if problem.code in _OF_POLICIES else problem.message
        return problem.code, problem.file, problem.field, message

    known = set(map(identity, before))
    return [as_dict(problem) | {"new": identity(problem) not in known} for problem in now]


def _policies(now: Iterable[PolicyResult], before: Iterable[PolicyResult]) -> list[View]:
    """What passes is left out; what moved to another line is not new."""

    def identity(one: PolicyResult) -> tuple[str, ...]:
        return one.policy, one.rule, one.model, one.precision, one.result, one.message

    known = set(map(identity, before))
    return [policy_view(one) | {"new": identity(one) not in known} for one in now if one.result != PASS]


def rollout_rows(one: FleetComparison, outlooks: Iterable[Outlook] = ()) -> list[View]:
    """Who will get the new releases when: for each Rollout of HEAD that is about one of them, or is another one than in
    BASE. `outlooks` are of the machines that are known: their names stand in their rings."""
    new = _new_releases(one)
    known = {each.machine: each.labels for each in outlooks}
    found: list[View] = []
    for rollout in one.head.rollouts:
        mine = {model: releases for model, releases in new.items() if rollout.is_about(model)}
        if mine or rollout in _other_rollouts(one):
            releases = sorted({release for each in mine.values() for release in each})
            places = rings_of(rollout, known, known)
            rings = forecast(rollout, releases[0] if len(releases) == 1 else "")
            found.append(
                {
                    "name": rollout.name,
                    "where": rollout.where,
                    "models": sorted(mine),
                    "rings": [
                        as_dict(ring) | {"machines": sorted(name for name, at in places.items() if at == number)}
                        for number, ring in enumerate(rings, 1)
                    ],
                }
            )
    return found


def _other_rollouts(one: FleetComparison) -> list[Rollout]:
    """Those of HEAD that BASE has not, or has otherwise. One that moved in its file is the same."""
    before = [replace(each, line=0) for each in one.base.rollouts]
    return [each for each in one.head.rollouts if replace(each, line=0) not in before]


def _new_releases(one: FleetComparison) -> dict[str, list[str]]:
    """By model. The digest of one that cannot be known here is left out."""
    served = {each.release.digest for each in one.base.desired.wanted}
    changed = {change.variant for change in one.plan.changes if not isinstance(change, PruneVariant)}
    found: dict[str, list[str]] = {}
    for wanted in one.head.desired.wanted:
        if wanted.variant in changed and wanted.release.digest not in served:
            releases = found.setdefault(wanted.release.model, [])
            if wanted.release.model not in one.head.unknown:
                releases.append(wanted.release.digest)
    return found


def fleet_view(outlooks: Iterable[Outlook], sources: Mapping[str, str]) -> list[View]:
    """A group per effect. Where its machines differ in size or speed, the worst is shown."""
    found = tuple(outlooks)
    names = [one.machine for one in found]
    return [_group(group, sources, names) for group in by_effect(found)]


def _group(group: list[Outlook], sources: Mapping[str, str], names: list[str]) -> View:
    first = group[0]
    seconds = [_total_cost(one.plan)["seconds"] for one in group]
    known = [each for each in seconds if isinstance(each, float)]
    return {
        "machines": [_machine(one, names) for one in group],
        "changes": [_change(change, sources) for change in first.plan.changes],
        "chosen": _chosen(first.plan),
        "held": [as_dict(held) for held in first.plan.held],
        "failures": [as_dict(failure) for failure in first.failures],
        "gates": [_gate(at, group) for at in range(len(first.gates))],
        "cost": {**_total_cost(first.plan), "seconds": max(known) if len(known) == len(group) else None},
    }


def _chosen(plan: Plan) -> list[View]:
    """Of the models that it changes, which precision is taken and why."""
    changed = {model_of(change.variant) for change in plan.changes}
    return [{"model": name, "message": why} for name, why in sorted(plan.chosen.items()) if name in changed]


def _gate(at: int, group: list[Outlook]) -> View:
    """`low` and `high` are the numbers of all machines of the group, null where there are none."""
    one = group[0].gates[at]
    verdicts = [each.gates[at].after or each.gates[at].before for each in group]
    numbers = [verdict.number for verdict in verdicts if verdict and verdict.number is not None]
    return {
        "variant": one.variant,
        "gate": one.gate,
        "measure": one.measure,
        "before": verdict_view(one.before) if one.before else None,
        "after": verdict_view(one.after) if one.after else None,
        "low": min(numbers, default=None),
        "high": max(numbers, default=None),
    }


def _machine(one: Outlook, names: list[str]) -> View:
    return {
        "name": one.machine,
        "ambiguous": names.count(one.machine) > 1,
        "file": one.file,
        "generated": one.generated,
        "ageDays": round(one.age / 86_400, 1) if one.age is not None else None,
        "old": one.old,
        "disk": {f"{name}Bytes": size for name, size in as_dict(one.disk).items()},
    }
