"""Order between models (`spec.dependsOn`): a new release waits until the models that it depends on are ready here, and
what others depend on is pruned after them. Pure; part of planner.plan.

Ready is what the condition says: each variant serves the release that git declares, whole. What serves already goes on
and is repaired, whatever becomes of the models that it depends on.
"""

from collections.abc import Iterable, Mapping

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Recorded
from reconciler.domain.text.names import model_of
from reconciler.planner.variant_facts import serves

Dependencies = Mapping[str, tuple[str, ...]]  # by model: the models that it depends on


def is_ready(wanted: DesiredRelease, observed: Observed) -> bool:
    """Whether the variant serves what git declares, whole."""
    registration = observed.serving(wanted.variant)
    is_current = registration is not None and registration.release == wanted.release.digest and wanted.override is None
    return is_current and serves(wanted.variant, observed)


def waits_for(wanted: DesiredRelease, desired: Desired, observed: Observed) -> str:
    """Why a new release of it has to wait; "" where all that it depends on is ready."""
    whys = (_why_not_ready(name, desired, observed) for name in wanted.depends_on)
    return "; ".join(filter(None, whys))


def _why_not_ready(model: str, desired: Desired, observed: Observed) -> str:
    if model in desired.not_selected:
        return f"it depends on {model}, which is not for this machine: {desired.not_selected[model]}"
    unresolved = (problem for variant, problem in desired.unresolved.items() if model_of(variant) == model)
    if (problem := next(unresolved, None)) is not None:
        return f"it depends on {model}, whose source is not usable: {problem.message}"
    variants = [one for one in desired.wanted if one.release.model == model]
    if not variants:
        return f"it depends on {model}, whose manifest is not valid"
    waiting = [one.variant for one in variants if not is_ready(one, observed)]
    return f"it depends on {model}, which is not served as declared yet: {', '.join(waiting)}" if waiting else ""


def declared_dependencies(desired: Desired) -> dict[str, tuple[str, ...]]:
    return {one.release.model: one.depends_on for one in desired.wanted if one.depends_on}


def dependents_of(model: str, served: Iterable[str], desired: Desired, recorded: Recorded) -> list[str]:
    """The models among those `served` that depend on it: as git declares, or as it did when they were declared last."""
    known = {**recorded.depends_on, **declared_dependencies(desired)}
    return sorted({one for one in served if one != model and model in known.get(one, ())})


def still_known(old: Dependencies, desired: Desired, served: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What is to be recorded: as git declares now, and as it was for what is served and not understood or not declared
    any more."""
    understood, served = {one.release.model for one in desired.wanted}, set(served)
    kept = {model: names for model, names in old.items() if model not in understood and model in served}
    return {**kept, **declared_dependencies(desired)}
