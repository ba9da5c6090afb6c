"""take_snapshot: resolve, observe and plan. It changes nothing; `plan` prints it, a pass begins and ends with it."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import Problem
from reconciler.domain.failures import RememberedFailure, without_backoff
from reconciler.domain.machine.registries import LOCAL, REGISTRY_ONLY
from reconciler.domain.manifest import Target
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Plan
from reconciler.domain.recorded import Recorded
from reconciler.engine.machine import (
    NOTHING,
    Machine,
    lacks_to_compare,
    machine_capacity,
    machine_labels,
    observe,
    recall,
)
from reconciler.engine.policies import with_builds, without_retired
from reconciler.engine.registries import RegistryLookup
from reconciler.engine.resolve import ORIGINAL, Resolution, resolve, with_choices, with_policies
from reconciler.engine.rollouts.gate import RolloutGate, rollout_gate
from reconciler.engine.rollouts.ring_reports import NOT_ASKED
from reconciler.engine.source_trust import SourceTrust
from reconciler.engine.timetable import Turns
from reconciler.engine.trust import refusals
from reconciler.gates.judgement import known_numbers, needed
from reconciler.host.clock import now
from reconciler.host.facts import serves_only
from reconciler.host.processes import mapped_folders
from reconciler.manifests.parsed import Parsed
from reconciler.planner.plan import make_plan
from reconciler.planner.removals import removable
from reconciler.planner.rollback import effective


@dataclass(frozen=True, kw_only=True)
class VariantDeclaration:
    """A desired state of `variant` alone, made without manifests: everything else is left as it is."""

    variant: str
    desired: Desired


Declaration = Parsed | VariantDeclaration


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    resolution: Resolution
    observed: Observed
    recorded: Recorded
    plan: Plan


@dataclass(frozen=True)
class Others:
    """What is known of others: what registries answered already in this pass, and whether others of the fleet go first;
    what was seen of other machines' rollouts (None: nothing waits for them). `for_all`: what is wanted is for other
    machines, so this one chooses no precision."""

    registries: RegistryLookup
    rollouts: RolloutGate | None = None
    for_all: bool = False


def take_snapshot(
    machine: Machine,
    declared: Declaration,
    *,
    confirm: bool = False,
    running: Container[str] = (),
    ignored: Container[RememberedFailure] = (),
    assumed: Mapping[str, str] = NOTHING,
    jobs: int = 1,
    others: Others | None = None,
) -> Snapshot:
    """`running` are build keys that jobs work on; `ignored` are failures whose back-off does not count; `assumed` are
    versions of the runtime's packages, in place of those installed; `others` is what is known of
    registries and other machines; without it the reports of other machines are not asked for."""
    observed = observe(machine)
    recorded = recall(machine, observed, assumed)
    others = others or Others(RegistryLookup(machine), rollout_gate(machine, why_not=NOT_ASKED))
    lookup = others.registries
    observed = replace(observed, refused=refusals(machine, lookup.trust))
    resolution = _resolved(machine, declared, observed)
    if resolution.desired.choosing and not others.for_all:
        resolution = with_choices(resolution, machine_capacity(machine))
    if recorded.failures and ignored:
        limits = _retry_limits(resolution.desired)
        recorded = replace(recorded, failures=without_backoff(recorded.failures, ignored, limits))
    resolution = replace(resolution, desired=without_used_originals(resolution.desired, recorded))
    desired = effective(resolution.desired, observed, recorded)
    if any(one.original is not None for one in desired.wanted):  # a look into the packages costs
        observed = replace(observed, lacks_to_compare=lacks_to_compare())
    observed = _with_answers(observed, desired, machine, lookup)
    builds = with_builds(desired, resolution.policies, observed, recorded)
    resolution = replace(with_policies(resolution, builds.decided), policies=builds.results)
    desired = without_retired(builds.desired)
    if isinstance(declared, Parsed):  # a roll-back by hand waits for nothing
        observed = _with_permissions(observed, desired, machine, lookup.turns)
        if others.rollouts is not None:
            rings = others.rollouts.holds(declared, desired, observed, recorded)
            observed = replace(observed, rings=rings)
    observed = replace(observed, in_use=_in_use(removable(desired, observed, recorded), observed))
    plan = make_plan(desired, observed, recorded, now=now(), running=running, confirm=confirm, jobs=jobs)
    if isinstance(declared, VariantDeclaration):
        plan = _only(plan, declared.variant, desired)
    resolution = replace(
        resolution,
        desired=desired,
        warnings=(*resolution.warnings, *_unreached(observed), *_distrusted(observed, desired)),
    )
    return Snapshot(resolution=resolution, observed=observed, recorded=recorded, plan=plan)


def without_used_originals(desired: Desired, recorded: Recorded) -> Desired:
    """What models were compared with already may go, where it is wanted for nothing else."""
    comparing = [one for one in desired.wanted if ORIGINAL in one.release.recipe.options]
    if not comparing or desired.choosing:
        return desired
    left = {one.release.recipe.options[ORIGINAL] for one in comparing if not _is_compared(one, recorded)}
    used = {str(one.release.recipe.options[ORIGINAL]) for one in comparing} - left
    return replace(desired, locked_sources=desired.locked_sources - (used - desired.source_digests))


def _is_compared(wanted: DesiredRelease, recorded: Recorded) -> bool:
    return not needed(wanted.gates, *known_numbers(wanted, recorded)).fidelity


def _retry_limits(desired: Desired) -> dict[str, int]:
    """By the keys of failures. What two models share is given up with the first of them that does."""
    limits: dict[str, int] = {}
    for one in desired.wanted:
        for key in one.failure_keys if one.retry_limit is not None else ():
            limits[key] = min(one.retry_limit or 0, limits.get(key, one.retry_limit or 0))
    return limits


def _resolved(machine: Machine, declared: Declaration, observed: Observed) -> Resolution:
    if isinstance(declared, VariantDeclaration):
        return Resolution(desired=declared.desired, problems=(), warnings=(), sources={})
    # A machine's facts cost a look into its packages: only where a model selects by them, or wants more than a CPU.
    selective = any(model.node_selector is not None or model.target != Target() for model in declared.models)
    labels = machine_labels(machine) if selective else None
    sources, trust, policies = machine.sources, SourceTrust.of(machine), machine.traits.policies
    return resolve(declared, machine.stamps, observed.usable, labels, sources, trust, policies=policies)


def _with_answers(observed: Observed, desired: Desired, machine: Machine, lookup: RegistryLookup) -> Observed:
    """With what the registries have of what is missing here, or must not serve anew."""
    mode = machine.traits.convert
    known = (one for one in desired.wanted if one.recipe_is_known)
    wanted = sorted({one.release.recipe.build_key for one in known})
    revoked = lookup.trust.of_stored((key for key in wanted if key not in observed.artifacts), {}, {})
    observed = replace(observed, refused={**observed.refused, **revoked})
    if mode == LOCAL:
        return observed
    final = {key for key, one in observed.refused.items() if one.final}
    here = observed.usable | observed.mendable | final
    answers = lookup.answers(key for key in wanted if key not in here)
    return replace(observed, convert=mode, serves_only=serves_only(), answers=answers)


def _with_permissions(observed: Observed, desired: Desired, machine: Machine, turns: Turns) -> Observed:
    sources = {fetch.source.digest for one in desired.wanted for fetch in one.fetches}
    keys = sorted({*sources, *observed.answers.offers})
    traffic = machine.traffic
    return replace(observed, permissions=traffic.timetable.permissions(traffic.used, turns, keys))


def _unreached(observed: Observed) -> tuple[Problem, ...]:
    answers = observed.answers
    if not answers.unreached:
        return ()
    then = "waits for a registry" if observed.convert == REGISTRY_ONLY else "is converted here"
    message = f"{answers.unreached}; what no registry offers {then}"
    return (Problem(code=answers.code, file="registries", message=message, hint=answers.hint),)


def _distrusted(observed: Observed, desired: Desired) -> Iterator[Problem]:
    """Builds that are asked for and not trusted here, each named once."""
    wanted = {one.release.recipe.build_key for one in desired.wanted}
    for key, refusal in sorted({**observed.refused, **observed.answers.refused}.items()):
        if key in wanted:
            yield Problem(code=refusal.reason, file="trust", message=refusal.message)


def _only(plan: Plan, variant: str, desired: Desired) -> Plan:
    """The changes of this variant and of the artifacts that it is made from."""
    keys = {one.release.recipe.build_key for one in desired.wanted if one.variant == variant}
    return replace(
        plan,
        changes=tuple(one for one in plan.changes if one.variant == variant or one.build_key in keys),
        held=tuple(one for one in plan.held if one.variant == variant),
    )


def _in_use(ids: Container[tuple[str, int]], observed: Observed) -> frozenset[str]:
    """Those of the releases whose files another process has mapped."""
    folders = {f.path: f"{f.variant}:{f.number}" for f in observed.folders if (f.variant, f.number) in ids}
    return frozenset(folders[path] for path in mapped_folders(folders)) if folders else frozenset()
