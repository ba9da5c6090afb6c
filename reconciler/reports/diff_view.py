"""The JSON view of a comparison of two commits: what `diff` shows, in whichever format. Plain dicts, camelCase.

Numbers of releases are left out: each machine counts its own.
"""

from collections.abc import Iterable, Iterator, Mapping

from reconciler.domain.changes import Change, Convert
from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model
from reconciler.domain.plain_data import as_dict
from reconciler.domain.plan import Plan
from reconciler.fleet.comparison import Comparison, Side, changed_fields
from reconciler.reports.change_view import after_view, before_view
from reconciler.reports.view import FORMAT_VERSION, View, cost_view, problem_view
from reconciler.templates.template_change import TemplateChange


def diff_view(one: Comparison) -> View:
    models = list(_models(one))
    known = not any(model["costUnknown"] for model in models)
    return {
        "formatVersion": FORMAT_VERSION,
        "path": one.path,
        "base": {"revision": one.base.revision, "commit": one.base.commit},
        "head": {"revision": one.head.revision, "commit": one.head.commit},
        "differs": bool(models),
        "models": models,
        "cost": {**total_cost(one.plan), "known": known},
        "disk": {f"{name}Bytes": size for name, size in as_dict(one.disk).items()},
        "templates": [_template(change) for change in one.templates],
        "machines": [],
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


def total_cost(plan: Plan) -> View:
    """Of all changes together; seconds only when those of every conversion are known."""
    costs = [change.cost for change in plan.changes]
    told = [cost.seconds for cost in costs if cost.seconds is not None]
    converted = [change.cost.seconds for change in plan.changes if isinstance(change, Convert)]
    return {
        "downloadBytes": sum(cost.download_bytes for cost in costs),
        "diskBytes": sum(cost.disk_bytes for cost in costs),
        "seconds": round(sum(told), 3) if told and None not in converted else None,
    }


def _models(one: Comparison) -> Iterator[View]:
    """Every model that is declared differently, or that machines do something about, by name."""
    before, after = _by_name(one.base), _by_name(one.head)
    owners = _owners(one)
    changes: dict[str, list[View]] = {}
    for change in one.plan.changes:
        changes.setdefault(owners.get(_key(change), ""), []).append(change_view(change, one.sources))
    held: dict[str, list[View]] = {}
    for hold in one.plan.held:
        held.setdefault(owners.get(hold.variant, ""), []).append(as_dict(hold))
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
                "changes": changes.get(name, []),
                "held": held.get(name, []),
            }


def _by_name(side: Side) -> dict[str, Model]:
    return {model.name: model for model in side.models}


def _owners(one: Comparison) -> dict[str, str]:
    """The model that a variant, or an artifact's build key, belongs to."""
    owners: dict[str, str] = {}
    for side in (one.head, one.base):
        for wanted in side.desired.wanted:
            owners.setdefault(wanted.variant, wanted.release.model)
            owners.setdefault(wanted.release.recipe.build_key, wanted.release.model)
    return owners


def _key(change: Change) -> str:
    return change.variant or change.build_key


def _declared(old: Model | None, new: Model | None, differs: bool, head: Side) -> str:
    """added | removed | changed | unchanged | invalid. A manifest that cannot be read any more is no removal."""
    if old is None:
        return "added" if new is not None else "unchanged"
    if new is None:
        return "invalid" if any(problem.file == old.file for problem in head.problems) else "removed"
    return "changed" if differs else "unchanged"


def change_view(change: Change, sources: Mapping[str, str]) -> View:
    return {
        "action": change.action,
        "reason": change.reason,
        "variant": change.variant,
        "forcedBy": list(change.forced_by),
        "before": _forced(before_view(change), change.forced_by, sources),
        "after": _forced(after_view(change), change.forced_by, sources),
        "cost": cost_view(change.cost),
    }


def _forced(held: Mapping[str, object] | None, names: Iterable[str], sources: Mapping[str, str]) -> View:
    """The fields alone: ids and digests of releases are not those of any real machine."""
    found = {name: (held or {}).get(name) for name in names}
    return {name: sources.get(str(said), said) for name, said in found.items()}


def _problems(now: Iterable[Problem], before: Iterable[Problem]) -> list[View]:
    """A problem that moved to another line is not new."""
    known = {_identity(problem) for problem in before}
    return [{**problem_view(problem), "new": _identity(problem) not in known} for problem in now]


def _identity(problem: Problem) -> tuple[str, ...]:
    return problem.code, problem.file, problem.field, problem.message
