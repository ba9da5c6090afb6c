"""Which releases of a variant are retired once another serves, and which later: the manifest retains them for a time,
or another process has their files in its memory; and removals that failed before. Pure; part of planner.plan.

No clock is trusted with a deletion or with a wait. A predecessor that was superseded in the future (the clock was set
back) is kept as if it had been superseded now, and the records follow (domain.history.not_in_the_future): it goes
neither at once nor in ten years. A failed removal backs off and blocks nothing else. No input in git could change it:
it is never permanent, but tried again at least once an hour.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from reconciler.domain.changes import Change, PruneVariant, Removal, Retire, ServesInstead
from reconciler.domain.desired import Desired
from reconciler.domain.failures import REMOVALS, held_by
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.domain.text.units import FORM
from reconciler.planner.variant_facts import VariantFacts, is_ours

LONGEST_IN_USE = 24 * 3600.0  # seconds; a process that never ends must not keep gigabytes for ever


def retire_others(facts: VariantFacts, *, keep: int) -> tuple[tuple[Retire, ...], tuple[Held, ...]]:
    """What is retired now, and what later. A higher number goes at once: the name leads to the highest. So does what
    a roll-back refuses."""
    wanted, override = facts.wanted, facts.wanted.override
    digests = override.refused if override is not None else ()
    refused = {one.number for one in facts.registrations if one.release in digests}
    registered = {one.number for one in facts.registrations}
    finished = {  # and provably ours; any other is left alone, and `verify` names it
        number
        for number, folder in facts.folders.items()
        if is_ours(folder, facts.observed, facts.recorded)
        and f"{wanted.variant}:{number}" not in facts.recorded.uncorroborated
    }
    numbers = sorted((registered | finished) - {keep})
    stays = {n: _stays(facts, n) for n in numbers if n < keep and n in registered and n not in refused}
    why = (override.remembered or override.message) if override is not None else ""
    instead = ServesInstead(number=keep, message=why)
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


def _stays(facts: VariantFacts, number: int) -> Held | None:
    variant, retain_for = facts.wanted.variant, facts.wanted.retain_for
    history, identity = facts.recorded.history.get(variant, ()), f"{variant}:{number}"
    known = next((one.superseded for one in history if one.number == number), "")
    since = min(known, facts.now) if known else facts.now  # when its successor was registered; never later than now
    until = _after(since, retain_for)
    if retain_for and (not until or facts.now < until):
        message = f"{identity} stays registered until {until}: retainFor"
        return Held(variant=variant, reason=Reason.RETAINED, message=message, until=until)
    until = _after(since, retain_for + LONGEST_IN_USE)
    if identity not in facts.observed.in_use or (until and facts.now >= until):
        return None
    message = f"another process has files of {identity} in its memory: it goes when that ends, or at {until}"
    return Held(variant=variant, reason=Reason.IN_USE, message=message, until=until)


def _after(moment: str, seconds: float) -> str:
    """ "" where there is no clock at all: then no time ends it."""
    if not moment:
        return ""
    since = datetime.strptime(moment, FORM).replace(tzinfo=UTC)
    return (since + timedelta(seconds=seconds)).strftime(FORM)


def without_failed_removals(changes: Iterable[Change], recorded: Recorded, now: str) -> tuple[list[Change], list[Held]]:
    """Those of `changes` that may be tried now, and why the others may not."""
    failures = {one.key: one for one in recorded.failures if one.action in REMOVALS}
    tried: list[Change] = []
    held: list[Held] = []
    for change in changes:
        failure = failures.get(change.failure_key) if isinstance(change, Removal) else None
        name = change.variant or change.build_key[:19]
        if failure is None or (hold := held_by(failure, name, now)) is None:
            tried.append(change)
        else:
            held.append(hold)
    return tried, held


def removals_left(observed: Observed, recorded: Recorded) -> set[str]:
    """The failure keys of whatever is still there to be removed. Failures to remove what is gone are forgotten."""
    ids = {(one.variant, one.number) for one in observed.folders}
    ids |= {(one.name, one.number) for one in observed.registrations}
    variants = {name for name, _ in ids} | recorded.releases.keys()
    unused = {*observed.artifacts, *observed.damaged_artifacts, *observed.locked_sources}
    return {
        *(f"{Retire.action} {name}:{number}" for name, number in ids),
        *(f"{PruneVariant.action} {one}" for one in variants | unused),
    }


def removable(desired: Desired, observed: Observed, recorded: Recorded) -> frozenset[tuple[str, int]]:
    """Variant and number of each served folder that a plan may remove: all but what is to serve, and what is declared
    but cannot be resolved now."""
    facts = [VariantFacts(wanted=one, observed=observed, recorded=recorded) for one in desired.wanted]
    keep = {one.wanted.variant: one.served_number for one in facts}
    unclear = desired.declared - keep.keys()
    return frozenset(
        (one.variant, one.number)
        for one in observed.folders
        if one.variant not in unclear and one.number != keep.get(one.variant)
    )
