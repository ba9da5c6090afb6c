"""Which artifacts another machine would take of those that can be brought to it, as the planner decides from its
inventory. Pure: the time is given."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.domain.changes import FetchSource, Pull
from reconciler.domain.desired import Desired
from reconciler.domain.machine.registries import REGISTRY_ONLY, Offer, RegistryAnswers
from reconciler.domain.manifest import Model
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.fleet.forecast import unfit
from reconciler.fleet.inventory import Inventory
from reconciler.fleet.inventory_facts import to_observed, to_recorded
from reconciler.planner.plan import make_plan

UNFIT = "Unfit"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A variant that nothing is brought for: `reason` is one of the planner's, or Unfit."""

    variant: str
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """`build_keys` of the artifacts to bring, with the variants that wait for each; what is left out, and why."""

    build_keys: Mapping[str, tuple[str, ...]]
    left_out: tuple[LeftOut, ...]


def lacking(inventory: Inventory, desired: Desired) -> tuple[str, ...]:
    """The build keys that are wanted and not held there whole."""
    whole = {one.build_key for one in inventory.artifacts if not one.damaged}
    known = (one.release.recipe.build_key for one in desired.wanted if one.recipe_is_known)
    return tuple(key for key in dict.fromkeys(known) if key not in whole)


def plan_shipment(
    inventory: Inventory, desired: Desired, models: Iterable[Model], offers: Mapping[str, Offer], now: str
) -> Shipment:
    """`offers` are what can be brought, by build key."""
    by_name = {model.name: model for model in models}
    reasons = {one.variant: tuple(unfit(inventory, one, by_name[one.release.model])) for one in desired.wanted}
    fitting = tuple(one for one in desired.wanted if not reasons[one.variant])
    answers = RegistryAnswers(offers=offers)
    observed = replace(to_observed(inventory), convert=REGISTRY_ONLY, answers=answers)
    plan = make_plan(replace(desired, wanted=fitting), observed, to_recorded(inventory), now=now, to_the_end=True)
    keys = {one.build_key for one in plan.changes if isinstance(one, Pull)}
    left = [
        LeftOut(variant=name, reason=UNFIT, message=message) for name, why in reasons.items() for _, message in why[:1]
    ]
    left += [_held(one, offers) for one in plan.held if one.variant in desired.declared | desired.retired.keys()]
    left += [_unknown(one) for one in plan.changes if isinstance(one, FetchSource)]
    waiting = {key: tuple(one.variant for one in fitting if one.release.recipe.build_key == key) for key in keys}
    return Shipment(build_keys={key: waiting[key] for key in sorted(keys)}, left_out=tuple(left))


def _held(held: Held, offers: Mapping[str, Offer]) -> LeftOut:
    message = held.message
    if held.reason is Reason.AWAITING_BUILD:
        key = message.removeprefix("waits for the build ").partition(": ")[0]
        message = f"{key} is neither in the store of this machine nor in a registry that it may pull from"
    return LeftOut(variant=held.variant, reason=held.reason, message=message)


def _unknown(change: FetchSource) -> LeftOut:
    message = f"{change.source} was never on this machine, so the build that it needs is not known"
    return LeftOut(variant=change.variant, reason=Reason.SOURCE_MISSING, message=message)
