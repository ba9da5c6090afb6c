"""Which releases of a variant are retired once another serves, and which only later. Pure; part of planner.plan."""

from reconciler.domain.changes import Retire, ServesInstead
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.planner.ownership import is_ours
from reconciler.planner.retention import Retention
from reconciler.planner.variant_facts import Facts


def retire_others(facts: Facts, *, keep: int) -> tuple[tuple[Retire, ...], tuple[Held, ...]]:
    """What is retired now, and what later. A higher number goes at once: the name leads to the highest."""
    registered = {r.number for r in facts.registrations}
    numbers = sorted((registered | _finished_folders(facts)) - {keep})
    retention = Retention(wanted=facts.wanted, observed=facts.observed, recorded=facts.recorded, now=facts.now)
    refused = _refused_numbers(facts)
    stays = {n: retention.of(n) for n in numbers if n < keep and n in registered and n not in refused}
    later = tuple(held for held in stays.values() if held is not None)
    changes = tuple(
        Retire(
            reason=Reason.ROLLED_BACK if number in refused else Reason.SUPERSEDED,
            variant=facts.wanted.variant,
            model=facts.wanted.release.model,
            number=number,
            registered=number in registered,
            serves_instead=_serves_instead(facts, keep) if number in refused else None,
        )
        for number in numbers
        if stays.get(number) is None
    )
    return changes, later


def _refused_numbers(facts: Facts) -> set[int]:
    """Under which releases that must not serve are registered."""
    refused = facts.wanted.override.refused if facts.wanted.override is not None else ()
    return {r.number for r in facts.registrations if r.release in refused}


def _serves_instead(facts: Facts, keep: int) -> ServesInstead:
    override = facts.wanted.override
    return ServesInstead(number=keep, message=override.message if override is not None else "")


def _finished_folders(facts: Facts) -> set[int]:
    """Folders that are provably ours. Any other is left alone, and `verify` names it."""
    return {
        number
        for number, folder in facts.folders.items()
        if is_ours(folder, facts.observed, facts.recorded)
        and f"{facts.wanted.variant}:{number}" not in facts.recorded.uncorroborated
    }
