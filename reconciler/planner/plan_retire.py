"""Which releases of a variant go once another serves: at once, or when their time is over. Pure; part of
planner.plan."""

from __future__ import annotations

from reconciler.domain.changes import Change, Held
from reconciler.planner.ownership import is_ours
from reconciler.planner.retention import Retention
from reconciler.planner.variant_facts import Facts


def retire_others(facts: Facts, *, keep: int) -> tuple[tuple[Change, ...], tuple[Held, ...]]:
    """What goes now, and what in time. A higher number goes at once: it would keep the name."""
    registered = {r.number for r in facts.registrations}
    numbers = sorted((registered | _finished_folders(facts)) - {keep})
    retention = Retention(
        wanted=facts.wanted, observed=facts.observed, recorded=facts.recorded, now=facts.now
    )
    refused = _refused_numbers(facts)
    stays = {n: retention.of(n) for n in numbers if n < keep and n in registered and n not in refused}
    later = tuple(held for held in stays.values() if held is not None)
    changes = tuple(
        Change(
            action="retire",
            reason="RolledBack" if number in refused else "Superseded",
            variant=facts.wanted.variant,
            number=number,
            before={"id": f"{facts.wanted.variant}:{number}", "registered": number in registered},
            after=_serves_instead(facts, keep) if number in refused else None,
        )
        for number in numbers
        if stays.get(number) is None
    )
    return changes, later


def _refused_numbers(facts: Facts) -> set[int]:
    """Under which releases are registered that are not to serve."""
    refused = facts.wanted.instead.refused if facts.wanted.instead is not None else ()
    return {r.number for r in facts.registrations if r.properties.get("reconciler_release") in refused}


def _serves_instead(facts: Facts, keep: int) -> dict[str, object]:
    because = facts.wanted.instead.message if facts.wanted.instead is not None else ""
    return {"serves": keep, "because": because}


def _finished_folders(facts: Facts) -> set[int]:
    """Folders that are provably ours. One that nothing speaks for is nobody's: `verify` names it, we leave it."""
    return {
        number
        for number, folder in facts.folders.items()
        if is_ours(folder, facts.observed, facts.recorded)
        and f"{facts.wanted.variant}:{number}" not in facts.recorded.uncorroborated
    }
