"""Which releases of a variant are retired once another serves, and which only later: the manifest retains them for a
time, or another process has their files in its memory. Pure; part of planner.plan.

No clock is trusted with a deletion or with a wait. A predecessor that was superseded in the future (the clock was set
back) is kept as if it had been superseded now, and the records follow (domain.history.not_in_the_future): it goes
neither at once nor in ten years.
"""

from datetime import UTC, datetime, timedelta

from reconciler.domain.changes import Retire, ServesInstead
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.planner.variant_facts import VariantFacts, is_ours

FORM = "%Y-%m-%dT%H:%M:%SZ"
LONGEST_IN_USE = 24 * 3600.0  # seconds; a process that never ends must not keep gigabytes for ever


def retire_others(facts: VariantFacts, *, keep: int) -> tuple[tuple[Retire, ...], tuple[Held, ...]]:
    """What is retired now, and what later. A higher number goes at once: the name leads to the highest. So does what
    a roll-back refuses."""
    wanted, override = facts.wanted, facts.wanted.override
    digests = override.refused if override is not None else ()
    refused = {one.number for one in facts.registrations if one.release in digests}
    registered = {one.number for one in facts.registrations}
    numbers = sorted((registered | _finished_folders(facts)) - {keep})
    stays = {n: _stays(facts, n) for n in numbers if n < keep and n in registered and n not in refused}
    instead = ServesInstead(number=keep, message=override.message if override is not None else "")
    changes = tuple(
        Retire(
            reason=Reason.ROLLED_BACK if number in refused else Reason.SUPERSEDED,
            variant=wanted.variant,
            model=wanted.release.model,
            number=number,
            registered=number in registered,
            serves_instead=instead if number in refused else None,
        )
        for number in numbers
        if stays.get(number) is None
    )
    return changes, tuple(held for held in stays.values() if held is not None)


def _finished_folders(facts: VariantFacts) -> set[int]:
    """Folders that are provably ours. Any other is left alone, and `verify` names it."""
    return {
        number
        for number, folder in facts.folders.items()
        if is_ours(folder, facts.observed, facts.recorded)
        and f"{facts.wanted.variant}:{number}" not in facts.recorded.uncorroborated
    }


def _stays(facts: VariantFacts, number: int) -> Held | None:
    variant, retain_for = facts.wanted.variant, facts.wanted.retain_for
    since, identity = _superseded(facts, number), f"{variant}:{number}"
    if retain_for and _is_before(facts.now, until := _after(since, retain_for)):
        message = f"{identity} stays registered until {until}: retainFor"
        return Held(variant=variant, reason=Reason.RETAINED, message=message, until=until)
    until = _after(since, retain_for + LONGEST_IN_USE)
    if identity not in facts.observed.in_use or not _is_before(facts.now, until):
        return None
    message = f"another process has files of {identity} in its memory: it goes when that ends, or at {until}"
    return Held(variant=variant, reason=Reason.IN_USE, message=message, until=until)


def _superseded(facts: VariantFacts, number: int) -> str:
    """When its successor was registered: now, if that is still to come; never later than now."""
    history = facts.recorded.history.get(facts.wanted.variant, ())
    known = next((one.superseded for one in history if one.number == number), "")
    return min(known, facts.now) if known else facts.now


def _is_before(now: str, until: str) -> bool:
    return not until or now < until


def _after(moment: str, seconds: float) -> str:
    """ "" where there is no clock at all: then no time ends it."""
    if not moment:
        return ""
    since = datetime.strptime(moment, FORM).replace(tzinfo=UTC)
    return (since + timedelta(seconds=seconds)).strftime(FORM)
