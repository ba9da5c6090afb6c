"""A toy world for the planner: builders for facts, and what each change does to them."""

from dataclasses import dataclass, field, replace

from reconciler.domain.changes import Change
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.digest import StoredFile
from reconciler.domain.history import HistoryEntry, registered
from reconciler.domain.manifest import Generation, Target
from reconciler.domain.measured import TEXTS_DIGEST, Fidelity
from reconciler.domain.observed import Observed, Registration, ServedFolder
from reconciler.domain.plan import Plan
from reconciler.domain.reasons import BY_ORDER
from reconciler.domain.recorded import Recorded, RecordedRelease
from reconciler.domain.release import Artifact, Marker, Recipe, Release
from reconciler.domain.targets.tasks import CHAT
from reconciler.planner.plan import make_plan

OWNER = "0" * 32


def release(
    model: str = "capitals",
    precision: str = "int4",
    *,
    source: str = "sha256:source",
    block_size: int = 32,
    template: str = "{{ messages }}",
    temperature: float | None = None,
    task: str = CHAT,
) -> Release:
    recipe = Recipe(
        source=source,
        adapter=None,
        architecture="Qwen2ForCausalLM",
        precision=precision,
        options={"block_size": block_size},
        target=Target(),
        tools={"olive-ai": "0.13.0"},
    )
    return Release(
        variant=f"{model}-{precision}",
        model=model,
        precision=precision,
        recipe=recipe,
        template=template,
        template_origin="inline",
        roles=None,
        generation=Generation(temperature=temperature),
        task=task,
    )


def wanted(one: Release | None = None, **changes: object) -> DesiredRelease:
    base = DesiredRelease(release=one or release(), source_bytes=1000, predicted_bytes=400, peak_bytes=1200)
    return replace(base, **changes)


def desired(*releases: Release | DesiredRelease, complete: bool = True, declared: tuple[str, ...] = ()) -> Desired:
    wants = tuple(r if isinstance(r, DesiredRelease) else wanted(r) for r in releases)
    names = frozenset({w.variant for w in wants} | set(declared))
    return Desired(revision="manifests@sha256:1", wanted=wants, declared=names, complete=complete)


@dataclass(frozen=True, kw_only=True)
class World:
    """Observed and recorded together; `carry_out` gives the world after a change."""

    observed: Observed = field(default_factory=lambda: Observed(owner=OWNER, disk_free=1_000_000))
    recorded: Recorded = field(default_factory=Recorded)

    def plan(self, want: Desired, *, confirm: bool = False) -> Plan:
        return make_plan(want, self.observed, self.recorded, confirm=confirm)

    def converge(self, want: Desired, *, confirm: bool = True) -> "World":
        """As a pass does: what waits for another change of the plan comes right after it."""
        world, plan = self, self.plan(want, confirm=confirm)
        while plan.changes:
            for change in plan.changes:
                world = world.carry_out(change, want)
            waits = any(hold.reason in BY_ORDER for hold in plan.held)
            plan = world.plan(want, confirm=confirm) if waits else Plan(revision="")
        return world

    def carry_out(self, change: Change, want: Desired) -> "World":
        return {
            "convert": self._convert,
            "measure": self._measure,
            "verify": lambda *_: self,
            "register": self._register,
            "repair": self._register,
            "retire": self._remove,
            "prune": self._remove,
        }[change.action](change, want)

    def with_observed(self, **changes: object) -> "World":
        return replace(self, observed=replace(self.observed, **changes))

    def without_artifacts(self) -> "World":
        return self.with_observed(artifacts={})

    def without_releases(self) -> "World":
        """Built, and never served."""
        bare = self.with_observed(folders=(), registrations=())
        return replace(bare, recorded=replace(bare.recorded, releases={}, high_water={}))

    def damaged(self, *names: str) -> "World":
        return self.with_observed(folders=tuple(replace(f, damage=names) for f in self.observed.folders))

    def serving(self) -> dict[str, set[str]]:
        """The releases that Foundry Local would answer with, by variant: registered, and the folder is whole."""
        whole = {f.path: f for f in self.observed.folders if f.marker is not None and not f.damage}
        found: dict[str, set[str]] = {}
        for registration in self.observed.registrations:
            if registration.path in whole:
                release_digest = registration.properties["reconciler_release"]
                found.setdefault(registration.name, set()).add(release_digest)
        return found

    def _convert(self, change: Change, want: Desired) -> "World":
        artifact = Artifact(
            digest="sha256:of-" + change.build_key,
            build_key=change.build_key,
            files=(StoredFile(path="model.onnx", digest="sha256:x", size=400),),
        )
        left = {k: v for k, v in self.observed.damaged_artifacts.items() if k != change.build_key}
        held = {**self.observed.artifacts, change.build_key: artifact}
        return self.with_observed(artifacts=held, damaged_artifacts=left).compared(change.build_key)

    def compared(self, build_key: str) -> "World":
        """As a faithful conversion is found."""
        found = Fidelity(
            build_key=build_key,
            prompts=TEXTS_DIGEST,
            positions=100,
            top1_agreement=1.0,
            mean_kl=0.0,
            perplexity_ratio=1.0,
            wiring_kl=0.0,
        )
        known = self.recorded.measured
        known = replace(known, fidelity={**known.fidelity, build_key: found})
        return replace(self, recorded=replace(self.recorded, measured=known))

    def _measure(self, change: Change, want: Desired) -> "World":
        return self.compared(change.build_key)

    def _register(self, change: Change, want: Desired) -> "World":
        one = next(w for w in want.wanted if w.variant == change.variant)
        path = f"/root/served/{change.variant}/{change.number}"
        whole = any(f.path == path and f.marker is not None and not f.damage for f in self.observed.folders)
        assert whole or one.release.recipe.build_key in self.observed.artifacts, "served what was never built"
        marker = marker_of(one.release, change.number, protected=one.protected)
        folder = ServedFolder(path=path, variant=change.variant, number=change.number, marker=marker)
        entry = registration(marker, path)
        folders = [f for f in self.observed.folders if f.path != path]
        entries = [r for r in self.observed.registrations if r.id != entry.id]
        world = self.with_observed(folders=(*folders, folder), registrations=(*entries, entry))
        return replace(world, recorded=remember(world.recorded, marker, one.release))

    def _remove(self, change: Change, want: Desired) -> "World":
        if not change.variant:
            keep = {k: v for k, v in self.observed.artifacts.items() if k != change.build_key}
            damaged = {k: v for k, v in self.observed.damaged_artifacts.items() if k != change.build_key}
            return self.with_observed(artifacts=keep, damaged_artifacts=damaged)
        gone = {(change.variant, number) for number in change.numbers}
        world = self.with_observed(
            folders=tuple(f for f in self.observed.folders if (f.variant, f.number) not in gone),
            registrations=tuple(r for r in self.observed.registrations if (r.name, r.number) not in gone),
        )
        if change.action != "prune":
            return world
        left = {v: r for v, r in self.recorded.releases.items() if v != change.variant}
        return replace(world, recorded=replace(self.recorded, releases=left))


def marker_of(one: Release, number: int, *, owner: str = OWNER, protected: bool = False) -> Marker:
    return Marker.of(
        one,
        owner=owner,
        number=number,
        artifact="sha256:artifact",
        protected=protected,
        revision="manifests@sha256:1",
        created="2026-11-22T00:00:00Z",
        files=(StoredFile(path="model.onnx", digest="sha256:x", size=400),),
    )


def registration(marker: Marker, path: str) -> Registration:
    properties = {
        "reconciler_owner": marker.owner,
        "reconciler_release": marker.release,
        "reconciler_model": marker.model,
    }
    return Registration(id=marker.id, path=path, properties=properties)


def remember(recorded: Recorded, marker: Marker, made: Release) -> Recorded:
    one = RecordedRelease.from_marker(marker, registered=marker.created)
    highest = max(marker.number, recorded.high_water.get(marker.variant, 0))
    past = HistoryEntry(
        number=marker.number,
        digest=marker.release,
        release=made,
        artifact=marker.artifact,
        revision=marker.revision,
        registered=marker.created,
    )
    history = registered(recorded.history.get(marker.variant, ()), past)
    return replace(
        recorded,
        releases={**recorded.releases, marker.variant: one},
        high_water={**recorded.high_water, marker.variant: highest},
        history={**recorded.history, marker.variant: history},
    )
