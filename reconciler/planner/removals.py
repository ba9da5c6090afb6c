"""Removals that failed before: each backs off, and blocks nothing else. Pure; part of planner.plan.

A failed removal has no input in git whose change would lift it, so it is never permanent: it is tried again, at least
once an hour.
"""

from collections.abc import Iterable

from reconciler.domain.changes import Change, PruneVariant, Removal, Retire
from reconciler.domain.desired import Desired
from reconciler.domain.failures import REMOVALS, verdict
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held
from reconciler.domain.recorded import Recorded
from reconciler.planner.variant_facts import VariantFacts


def without_failed_removals(changes: Iterable[Change], recorded: Recorded, now: str) -> tuple[list[Change], list[Held]]:
    """Those of `changes` that may be tried now, and why the others may not."""
    failures = {one.key: one for one in recorded.failures if one.action in REMOVALS}
    tried: list[Change] = []
    held: list[Held] = []
    for change in changes:
        failure = failures.get(change.failure_key) if isinstance(change, Removal) else None
        if failure is None or (found := verdict(failure, now)) is None:
            tried.append(change)
        else:
            name = change.variant or change.build_key[:19]
            held.append(Held(variant=name, reason=found.reason, message=found.message, until=found.until))
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
