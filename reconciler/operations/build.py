"""Build for others: convert what the manifests want and the registries lack, check it by its gates as a machine that
serves would, and push it with the numbers of its comparison. Nothing is registered or pruned.

The plan of an empty machine names the work: what is done here are its downloads, conversions, measurements and
rehearsals, and then, instead of a registration, a push. Two builders at once do no harm: the first build of a
key stays.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from reconciler.domain import digest as digests
from reconciler.domain.changes import Convert, FetchSource, LongWork, MeasureCandidate, VerifyCandidate
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import Problem, ReconcilerError, UsageError
from reconciler.domain.plan import Held, Outcome
from reconciler.domain.registries import LOCAL, RegistrySettings
from reconciler.engine.job_queue import JobQueue
from reconciler.engine.machine import Machine, stored_artifact
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_context import PassContext, Workers
from reconciler.engine.planning import Snapshot, take_snapshot
from reconciler.engine.reconciler import beginning
from reconciler.engine.steps import Steps
from reconciler.host import durable
from reconciler.host.reading import read_whole
from reconciler.manifests.parsed import Parsed

THERE, PUSHED, FAILED, WAITS = "there", "pushed", "failed", "held"
_WORK = (FetchSource, Convert, MeasureCandidate)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The `number`-th of `count` parts. A model's precision is in the same part on every machine, also before its
    source was fetched."""

    number: int = 1
    count: int = 1

    def has(self, wanted: DesiredRelease) -> bool:
        recipe = wanted.release.recipe
        drawn = digests.of_value([recipe.source, recipe.adapter, recipe.precision])
        return int(drawn[7:23], 16) % self.count == self.number - 1


@dataclass(frozen=True, kw_only=True)
class Built:
    """What became of one build key: there (nothing was done), pushed, failed or held; `message` says why."""

    variant: str
    build_key: str
    status: str
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    builds: tuple[Built, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def complete(self) -> bool:
        return not self.problems and all(one.status in (THERE, PUSHED) for one in self.builds)


def build(
    machine: Machine, parsed: Parsed, reporter: Reporter, options: Options, shard: Shard, say: Callable[[str], None]
) -> BuildResult:
    """The caller holds the lock. `say` tells what moves. Raises RegistryFailed where a registry cannot be asked: a
    build that cannot be pushed is not begun."""
    registries = [one for one in machine.traits.registries if one.pushes]
    if not registries:
        hint = "add one to `registries` of the machine's configuration, with role: push or both"
        raise UsageError("there is no registry to push to", hint=hint)
    builder = _Builder(_for_all(machine), _for_any_machine(parsed), reporter, options, shard)
    return builder.run(registries, say)


def _for_all(machine: Machine) -> Machine:
    return replace(machine, traits=replace(machine.traits, convert=LOCAL))


def _for_any_machine(parsed: Parsed) -> Parsed:
    return replace(parsed, models=tuple(replace(one, node_selector=None) for one in parsed.models))


class _Builder:
    def __init__(self, machine: Machine, parsed: Parsed, reporter: Reporter, options: Options, shard: Shard) -> None:
        self._machine, self._parsed, self._reporter, self._options = machine, parsed, reporter, options
        self._shard = shard
        self._known = machine.records.failures()
        self._outcomes: list[Outcome] = []
        self._steps = Steps(reporter, self._outcomes)
        self._lacking: dict[str, list[RegistrySettings]] = {}  # by build key: the registries that do not have it

    def run(self, registries: Sequence[RegistrySettings], say: Callable[[str], None]) -> BuildResult:
        workers = Workers(self._machine, self._options)
        try:
            last = self._worked(registries, workers)
            self._machine.stamps.save()
            context = PassContext(machine=self._machine, workers=workers, resolution=last.resolution)
            builds = tuple(self._built(one, last, context, say) for one in self._first_of_each_key(last))
            self._machine.stamps.save()
        finally:
            workers.close()
            durable.empty(self._machine.layout.staging)
        return BuildResult(builds=builds, problems=last.resolution.problems, warnings=last.resolution.warnings)

    def _worked(self, registries: Sequence[RegistrySettings], workers: Workers) -> Snapshot:
        """Downloads, conversions and measurements, until none is left. The last look at the machine."""
        woken = threading.Event()
        queue = JobQueue(self._machine, self._reporter, self._options, woken.set)
        try:
            while True:
                for job in queue.take_ended():
                    self._steps.step(job.change, partial(queue.settle, job), job.context, spent=job.seconds)
                    queue.clean(job)
                running = [job.change for job in queue.jobs]
                seen = self._look(registries, running)
                context = PassContext(machine=self._machine, workers=workers, resolution=seen.resolution)
                queue.begin(beginning(self._work(seen), running), context)
                if not queue.jobs:
                    return seen
                while not woken.wait(1.0):  # in pieces: on Windows Ctrl-C does not end a wait
                    pass
                woken.clear()
        finally:
            queue.close()

    def _look(self, registries: Sequence[RegistrySettings], running: Iterable[LongWork]) -> Snapshot:
        keys = frozenset(one.build_key for one in running if isinstance(one, FetchSource | Convert))
        seen = take_snapshot(self._machine, self._parsed, running=keys, ignored=self._known, jobs=self._options.jobs)
        named = (one for one in seen.resolution.desired.wanted if one.recipe_is_known and self._shard.has(one))
        new = sorted({one.release.recipe.build_key for one in named} - self._lacking.keys())
        for key in new:
            self._lacking[key] = []
        for settings in registries if new else ():
            for key in _absent(settings, new):
                self._lacking[key].append(settings)
        return seen

    def _work(self, seen: Snapshot) -> list[LongWork]:
        """By its keys: what several variants share, the first of them carries in the plan, and that may be another's
        part."""
        failed = {
            one.change.work_key for one in self._outcomes if isinstance(one.change, _WORK) and one.status != "done"
        }
        mine = [one for one in self._first_of_each_key(seen) if self._is_mine(one)]
        keys, variants = {key for one in mine for key in one.work_keys}, {one.variant for one in mine}
        work = (one for one in seen.plan.changes if isinstance(one, _WORK) and one.build_key in keys)
        work = (one for one in work if one.variant in variants or not isinstance(one, MeasureCandidate))
        return [one for one in work if one.work_key not in failed]

    def _is_mine(self, wanted: DesiredRelease) -> bool:
        """To be worked on: of this part, and lacking somewhere, or not known yet by its key."""
        return self._shard.has(wanted) and bool(
            not wanted.recipe_is_known or self._lacking.get(wanted.release.recipe.build_key)
        )

    def _first_of_each_key(self, seen: Snapshot) -> list[DesiredRelease]:
        mine = [one for one in seen.resolution.desired.wanted if self._shard.has(one)]
        return list({one.release.recipe.build_key: one for one in reversed(mine)}.values())[::-1]

    def _built(self, wanted: DesiredRelease, seen: Snapshot, context: PassContext, say: Callable[[str], None]) -> Built:
        key = wanted.release.recipe.build_key
        built = partial(Built, variant=wanted.variant, build_key=key)
        if not self._lacking.get(key, [wanted]):
            return built(status=THERE)
        if why := self._hindered(wanted, seen):
            return built(status=WAITS if isinstance(why, Held) else FAILED, message=why.message)
        verify = [
            one for one in seen.plan.changes if isinstance(one, VerifyCandidate) and one.variant == wanted.variant
        ]
        if not verify or not self._steps.run(verify, context):
            return built(status=FAILED, message=self._outcomes[-1].message if verify else "nothing was built")
        try:
            for settings in self._lacking[key]:
                say(f"{wanted.variant}: pushing {key[:19]} to {settings.address}")
                _push(settings, key, context)
        except ReconcilerError as error:
            return built(status=FAILED, message=str(error))
        return built(status=PUSHED, message=", ".join(str(one.address) for one in self._lacking[key]))

    def _hindered(self, wanted: DesiredRelease, seen: Snapshot) -> Held | Outcome | None:
        outcomes = (
            one for one in self._outcomes if one.change.build_key in wanted.work_keys and one.status == "failed"
        )
        held = (one for one in seen.plan.held if one.variant == wanted.variant)
        return next(outcomes, None) or next(held, None)


def _absent(settings: RegistrySettings, build_keys: Iterable[str]) -> list[str]:
    from reconciler.registry.opening import open_registry
    from reconciler.registry.transfer import find

    with open_registry(settings, push=True) as opened:
        return [key for key in build_keys if find(opened.registry, key) is None]


def _push(settings: RegistrySettings, build_key: str, context: PassContext) -> None:
    """The numbers first: whoever finds the artifact finds them too."""
    from reconciler.registry.numbers import push_numbers
    from reconciler.registry.opening import open_registry
    from reconciler.registry.transfer import push

    machine = context.machine
    artifact, fidelity = stored_artifact(machine, build_key), context.known().fidelity.get(build_key)
    manifest = machine.store.blob(artifact.digest)
    with open_registry(settings, push=True) as opened:
        if fidelity is not None and not fidelity.unmeasured:
            push_numbers(opened.registry, read_whole(manifest), fidelity, context.fresh_staging())
        push(opened.registry, manifest.rpartition(artifact.digest[7:])[0], artifact.digest)


def counts_of(result: BuildResult) -> dict[str, int]:
    """How many of each status."""
    statuses = [one.status for one in result.builds]
    return {status: statuses.count(status) for status in (PUSHED, THERE, WAITS, FAILED) if status in statuses}
