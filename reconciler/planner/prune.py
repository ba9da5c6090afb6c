"""What is pruned: variants that are served and no longer declared, artifacts and sources that nothing uses; and every
rule that protects something from being pruned. Pure; part of planner.plan.

Only what is ours can be here at all: a registration with our owner mark, a folder with our marker, a record of ours.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from reconciler.domain.changes import Change, Cost, PruneArtifact, PruneSource, PruneVariant, RemoveRelease
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.history import kept
from reconciler.domain.manifest import variant_name
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held
from reconciler.domain.reasons import PRUNE_GUARDS, Reason
from reconciler.domain.recorded import Recorded, RecordedRelease
from reconciler.domain.release import Marker
from reconciler.domain.targets.precisions import PRECISIONS
from reconciler.domain.text.quoting import in_short
from reconciler.planner.dependencies import dependents_of, is_ready
from reconciler.planner.plan_disk import disk_budget
from reconciler.planner.variant_facts import is_ours, serves

MOST_UNCONFIRMED = 5
MOST_REASONS = 2  # why models are not for this machine: so many are told

PROTECTED = (
    "its manifest had prune: disabled when it was last seen; to let it go, declare it once more without that, apply, "
    "and delete the manifest again"
)
_NAME_THEM = "name them in a PruneConfirmation (docs/manifests/prune-confirmation.md)"


@dataclass(kw_only=True)
class _Served:
    """One variant of ours, as registrations, folders and records describe it together."""

    variant: str
    model: str = ""
    numbers: set[int] = field(default_factory=set)
    protected: bool = False
    size: int = 0

    def among(self, ids: frozenset[str]) -> str:
        return ", ".join(sorted({f"{self.variant}:{number}" for number in self.numbers} & ids))


@dataclass(frozen=True, kw_only=True)
class OrphanPlan:
    """What becomes of variants that are served and no longer declared: `prunes` go, `held` stay. Of those, `outgoing`
    are held by nothing but their model, of which no declared precision serves yet: how they go when one does."""

    prunes: Sequence[PruneVariant]
    held: Sequence[Held]
    outgoing: Sequence[PruneVariant] = ()


def plan_prunes(desired: Desired, observed: Observed, recorded: Recorded, *, confirm: bool) -> OrphanPlan:
    ours = _ours(observed, recorded)
    orphans = [ours[variant] for variant in sorted(ours) if variant not in desired.declared]
    held: list[Held] = []
    free: list[_Served] = []
    outgoing: list[PruneVariant] = []
    for one in orphans:
        if why := next(_reasons_to_stay(one, desired, observed, recorded, confirm=confirm), None):
            held.append(Held(variant=one.variant, reason=why[0], message=why[1]))
            outgoing += [_prune(one, desired)] if why[0] is Reason.AWAITING_PRECISION and desired.complete else []
        else:
            free.append(one)
    if guard := _guard(desired, ours, free, confirm=confirm):
        held += (Held(variant=one.variant, reason=guard[0], message=guard[1]) for one in free)
        return OrphanPlan(prunes=(), held=held, outgoing=outgoing)
    served = {one.model for one in ours.values()}
    needed = {
        one.variant: [] if _stays(one.model, desired, observed) else dependents_of(one.model, served, desired, recorded)
        for one in free
    }
    held += [_needed(one, needed[one.variant]) for one in free if needed[one.variant]]
    prunes = [_prune(one, desired) for one in free if not needed[one.variant]]
    return OrphanPlan(prunes=prunes, held=held, outgoing=outgoing)


def _stays(model: str, desired: Desired, observed: Observed) -> bool:
    """With another of its variants, which serves what git declares."""
    return any(one.release.model == model and is_ready(one, observed) for one in desired.wanted)


def _successors(orphan: _Served, desired: Desired, observed: Observed) -> list[str]:
    """What its model is to be served as from now on, as long as none of it serves, not even an earlier release. Where a
    policy wants it gone, it goes."""
    named = _named(orphan.model, desired)
    if orphan.variant in desired.retired or any(serves(one, observed) for one in named):
        return []
    return sorted(named.difference(desired.retired))


def _named(model: str, desired: Desired) -> set[str]:
    """Its variants that are declared, also those that could not be resolved."""
    return {variant_name(model, precision) for precision in PRECISIONS} & desired.declared


def _needed(orphan: _Served, dependents: list[str]) -> Held:
    message = f"still served, and to go first, is what depends on it: {', '.join(dependents)}"
    return Held(variant=orphan.variant, reason=Reason.HAS_DEPENDENTS, message=message)


def _reasons_to_stay(
    orphan: _Served, desired: Desired, observed: Observed, recorded: Recorded, *, confirm: bool
) -> Iterator[tuple[Reason, str]]:
    """Why this one stays, whatever becomes of the others; the first counts. Where that is AwaitingPrecision it may make
    way, if nobody talks to it."""
    if orphan.variant in observed.unreadable:
        yield Reason.UNREADABLE, observed.unreadable[orphan.variant]
    if orphan.model in desired.suspended:
        yield Reason.SUSPENDED, "would prune; its model says suspend"
    suspension = recorded.suspension_of(orphan.variant, orphan.model)
    if suspension is not None:  # guard: what is suspended stays
        yield Reason.SUSPENDED, f"would prune; {suspension}"
    if orphan.protected:  # guard: what is protected stays
        yield Reason.PROTECTED, PROTECTED
    # A mark can be copied with its folder: without a second witness a person decides.
    alone = orphan.among(recorded.uncorroborated)
    if alone and not confirm:  # guard: a mark alone deletes nothing
        yield Reason.UNRECORDED, f"only the mark in its folder says that {alone} is ours: `apply --confirm` lets it go"
    # guard: another precision serves until one that is declared does
    if successors := _successors(orphan, desired, observed):
        yield Reason.AWAITING_PRECISION, f"it serves until {' or '.join(successors)} does"
    # It would free no byte, and take a model away from a client that talks to it.
    loaded = orphan.among(observed.in_use)
    if loaded and not confirm:
        files = f"another process has files of {loaded} in its memory"
        yield Reason.IN_USE, f"{files}: it goes when that ends, or with --confirm"


def _ours(observed: Observed, recorded: Recorded) -> dict[str, _Served]:
    found: dict[str, _Served] = {}
    for registration in observed.registrations:
        if observed.owns(registration.owner):  # guard: only our registrations
            one = found.setdefault(registration.name, _Served(variant=registration.name))
            one.numbers.add(registration.number)
            one.model = one.model or registration.model
    for folder in observed.folders:
        if is_ours(folder, observed, recorded):
            one = found.setdefault(folder.variant, _Served(variant=folder.variant))
            one.numbers.add(folder.number)
            if folder.marker is not None:
                one.model = folder.marker.model
                one.protected = one.protected or folder.marker.protected
                one.size += sum(file.size for file in folder.marker.files)
    for variant, release in recorded.releases.items():
        if variant not in found:  # it is gone, but for its record: a prune that died before it could forget
            found[variant] = _Served(variant=variant, numbers={release.number}, model=release.model)
        else:  # a record follows the manifest as long as there is one; a marker is older
            found[variant].protected = release.protected
            found[variant].model = release.model
    return found


def _guard(
    desired: Desired, ours: dict[str, _Served], orphans: list[_Served], *, confirm: bool
) -> tuple[Reason, str] | None:
    """Why nothing may be pruned, if so. Counted in whole models: taking one precision out of a manifest that is still
    there is an edit made on purpose."""
    if not orphans:
        return None
    if not desired.complete:  # guard: nothing is pruned while a manifest is unreadable
        return Reason.MANIFESTS_UNREADABLE, "mend the invalid manifests first"
    kept = {one.model for variant, one in ours.items() if variant in desired.declared}
    gone = {one.model for one in orphans if not _named(one.model, desired)} - kept
    if confirm or gone <= desired.confirmed:  # guard: a confirmation in git confirms only what it names
        return None
    if not desired.declared:  # guard: an empty declaration prunes nothing
        return Reason.NOTHING_DECLARED, _nothing_here(desired.not_selected, gone)
    # guard: many at once want a confirmation
    if (
        len(gone) > MOST_UNCONFIRMED  # guard: more than five want a confirmation
        or 2 * len(gone) > len(gone | kept)
    ):
        unconfirmed = ", ".join(sorted(gone - desired.confirmed))
        which = f" ({unconfirmed} not confirmed)" if gone & desired.confirmed else ""
        what = f"{len(gone)} of {len(gone | kept)} models would go{which}"
        until = "" if len(gone) > MOST_UNCONFIRMED else ", and stay until as many others serve"
        return Reason.CONFIRMATION_NEEDED, f"{what}{until}: pass --confirm if that is meant, or {_NAME_THEM}"
    return None


def _nothing_here(elsewhere: Mapping[str, str], gone: Set[str]) -> str:
    """What keeps the models that are `gone` where nothing is declared for this machine. `elsewhere` says of models that
    are declared why they are not for it: those cannot be named in a PruneConfirmation."""
    everything = "pass --confirm to prune everything"
    named = everything if gone & elsewhere.keys() else f"{everything}, or {_NAME_THEM}"
    if not elsewhere:
        return named
    why = in_short([f"{model}: {reason}" for model, reason in sorted(elsewhere.items())], MOST_REASONS)
    return f"what is declared is not for this machine ({why}); mend nodeSelector or the machine's labels, or {named}"


def _prune(orphan: _Served, desired: Desired) -> PruneVariant:
    reason = Reason.NOT_SELECTED if orphan.model in desired.not_selected else Reason.ORPHANED
    reason = Reason.PRECISION_CHANGED if orphan.model in desired.chosen else reason
    return PruneVariant(
        reason=Reason.POLICY_DENIED if orphan.variant in desired.retired else reason,
        variant=orphan.variant,
        model=orphan.model,
        numbers=tuple(sorted(orphan.numbers)),
        confirmed=orphan.model in desired.confirmed,
        cost=Cost(disk_bytes=-orphan.size),
    )


def why_predecessor_stays(wanted: DesiredRelease, predecessors: Container[str], observed: Observed) -> str:
    """Why what serves, as these variants, may not be removed before its successor is built; "" where it may."""
    if wanted.protected:  # guard: what is protected makes no way
        return "what serves may not go first: its manifest says prune: disabled"
    if wanted.retain_for:
        return "what serves may not go first: its manifest says retainFor"
    loaded = sorted(one for one in observed.in_use if one.rpartition(":")[0] in predecessors)
    if not loaded:
        return ""
    return f"another process has files of {', '.join(loaded)} in its memory: it goes first when that ends"


def outdated_protection(
    desired: Desired, observed: Observed, recorded: Recorded
) -> tuple[list[RecordedRelease], list[tuple[str, Marker]]]:
    """Records, and markers by the path of their folder, as they have to be written anew: `prune: disabled` counts as
    the manifest had it last, also when nothing else changed with it."""
    releases, folders = [], []
    for wanted in desired.wanted:
        release = recorded.releases.get(wanted.variant)
        if release is not None and release.protected != wanted.protected:
            releases.append(replace(release, protected=wanted.protected))
        for folder in observed.folders_of.get(wanted.variant, []):
            marker = folder.marker
            if marker and observed.owns(marker.owner) and marker.protected != wanted.protected:
                folders.append((folder.path, replace(marker, protected=wanted.protected)))
    return releases, folders


def plan_unused(
    desired: Desired, observed: Observed, recorded: Recorded, changes: Iterable[Change] = (), held: Iterable[Held] = ()
) -> list[PruneArtifact | PruneSource]:
    """Artifacts and sources that nothing uses once `changes` are carried out. None while a guard holds prunes back."""
    if any(hold.reason in PRUNE_GUARDS for hold in held):
        return []
    return [*plan_unused_artifacts(desired, observed, recorded, changes), *plan_unused_sources(desired, observed)]


def plan_unused_artifacts(
    desired: Desired, observed: Observed, recorded: Recorded, changes: Iterable[Change] = (), held: Iterable[Held] = ()
) -> list[PruneArtifact]:
    """Nothing is freed while anything is not understood: a manifest, a source or an unreadable served folder may need
    it."""
    if any(hold.reason in PRUNE_GUARDS for hold in held) or why_artifacts_stay(desired, observed):
        return []
    changes = tuple(changes)
    leaving = {(one.variant, number) for one in changes if isinstance(one, RemoveRelease) for number in one.numbers}
    going = {one.build_key for one in changes if isinstance(one, PruneArtifact)}
    keys = observed.artifacts.keys() | observed.damaged_artifacts.keys()
    used = users(desired, observed, leaving).keys() | kept_to_go_back(desired, observed, recorded).keys()
    return [free_artifact(observed, key) for key in sorted(keys - used - going)]


def plan_unused_sources(desired: Desired, observed: Observed) -> list[PruneSource]:
    if not desired.complete or desired.unresolved:
        return []
    unused = sorted(observed.locked_sources.keys() - desired.locked_sources)
    return [PruneSource(build_key=digest, size=observed.locked_sources[digest]) for digest in unused]


def why_artifacts_stay(desired: Desired, observed: Observed) -> str:
    """What cannot be understood now, and may be made from any artifact; "" where all is understood."""
    if not desired.complete:
        return "a manifest is invalid, and may want it"
    if desired.unresolved:
        return f"the source of {min(desired.unresolved)} cannot be read, and may be what it is made from"
    unread = [*observed.unreadable, *(one.variant for one in observed.folders if one.marker is None)]
    if unread:
        return f"a served folder of {min(unread)} cannot be read, and may be made from it"
    unseen = [one.variant for one in desired.wanted if not one.recipe_is_known]
    return f"the source of {min(unseen)} was never here, and may be what it is made from" if unseen else ""


def users(desired: Desired, observed: Observed, leaving: Container[tuple[str, int]] = ()) -> dict[str, str]:
    """By build key, what declares, serves or names it: the first of them in words."""
    found = [(one.release.recipe.build_key, f"{one.variant} is declared") for one in desired.wanted]
    found += [(one.declared.recipe.build_key, f"{one.variant} is declared") for one in desired.wanted if one.override]
    found += [
        (folder.marker.build_key, f"{folder.variant}:{folder.number} is served from it")
        for folder in observed.folders
        if folder.marker is not None and (folder.variant, folder.number) not in leaving
    ]
    found += [
        (entry.build_key, f"{entry.id} is registered")
        for entry in observed.registrations
        if (entry.name, entry.number) not in leaving and entry.build_key
    ]
    return dict(reversed(found))


def kept_to_go_back(desired: Desired, observed: Observed, recorded: Recorded) -> dict[str, str]:
    """The build keys of earlier releases within each model's limit, with when they were served."""
    found: dict[str, str] = {}
    for wanted in desired.wanted:
        history = recorded.history.get(wanted.variant, ())
        for one in kept(history, wanted.history_limit, wanted.release.digest):
            found[one.release.recipe.build_key] = one.registered
        if not history and wanted.history_limit:  # its first release, which needed no history yet
            folder = observed.folder_behind(observed.serving(wanted.variant))
            if folder is not None and folder.marker is not None:
                found[folder.marker.build_key] = folder.marker.created
    return found


def plan_room(desired: Desired, observed: Observed, recorded: Recorded, need: int) -> list[PruneArtifact]:
    """What is kept only to go back to, oldest first, as far as it makes room for `need` bytes within all limits;
    nothing if all of it would not be enough."""
    since = kept_to_go_back(desired, observed, recorded)
    used = users(desired, observed)
    changes: list[PruneArtifact] = []
    left = disk_budget(observed)[0]
    for key in sorted(since, key=lambda key: (since[key], key)):
        if left < need and key in observed.artifacts and key not in used:
            changes.append(free_artifact(observed, key, makes_room=True))
            left += observed.artifacts[key].size
    return changes if left >= need else []


def free_artifact(observed: Observed, build_key: str, *, makes_room: bool = False) -> PruneArtifact:
    artifact = observed.artifacts.get(build_key)
    return PruneArtifact(
        build_key=build_key,
        artifact=artifact.digest if artifact else None,
        size=artifact.size if artifact else 0,
        makes_room=makes_room,
    )
