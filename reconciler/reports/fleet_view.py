"""The part of `diff`'s JSON view that tells of real machines (`--against`)."""

from collections.abc import Iterable, Mapping

from reconciler.domain.plain_data import as_dict
from reconciler.fleet.forecast import Outlook, grouped
from reconciler.reports.diff_view import change_view, total_cost
from reconciler.reports.view import View, verdict_view


def fleet_view(outlooks: Iterable[Outlook], sources: Mapping[str, str]) -> list[View]:
    """A group per effect. Where its machines differ in size or speed, the worst is told."""
    found = tuple(outlooks)
    names = [one.report.machine for one in found]
    twice = frozenset(name for name in names if names.count(name) > 1)
    return [_group(group, sources, twice) for group in grouped(found)]


def _group(group: list[Outlook], sources: Mapping[str, str], twice: frozenset[str]) -> View:
    first = group[0]
    seconds = [total_cost(one.plan)["seconds"] for one in group]
    told = [each for each in seconds if isinstance(each, float)]
    return {
        "machines": [_machine(one, twice) for one in group],
        "changes": [change_view(change, sources) for change in first.plan.changes],
        "held": [as_dict(held) for held in first.plan.held],
        "failures": [as_dict(failure) for failure in first.failures],
        "gates": [_gate(at, group) for at in range(len(first.gates))],
        "cost": {**total_cost(first.plan), "seconds": max(told) if len(told) == len(group) else None},
    }


def _gate(at: int, group: list[Outlook]) -> View:
    """`low` and `high` are the numbers of all machines of the group, null where there are none."""
    one = group[0].gates[at]
    numbers = [verdict.number for each in group if (verdict := each.gates[at].after or each.gates[at].before)]
    told = [number for number in numbers if number is not None]
    return {
        "variant": one.variant,
        "gate": one.gate,
        "measure": one.measure,
        "before": verdict_view(one.before) if one.before is not None else None,
        "after": verdict_view(one.after) if one.after is not None else None,
        "low": min(told, default=None),
        "high": max(told, default=None),
    }


def _machine(one: Outlook, twice: frozenset[str]) -> View:
    age = one.report.age
    return {
        "name": one.report.machine,
        "ambiguous": one.report.machine in twice,
        "file": one.report.file,
        "generated": one.report.generated,
        "ageDays": round(age / 86_400, 1) if age is not None else None,
        "old": one.report.old,
        "disk": {f"{name}Bytes": size for name, size in as_dict(one.disk).items()},
    }
