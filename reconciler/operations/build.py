"""Build for others: convert what the manifests want and the registries lack, check it by its gates as a machine that
serves would, and push it with the numbers of its comparison, each as soon as it is ready. Nothing is registered or
pruned.

The plan of an empty machine names the work: what is done here are its downloads, conversions, measurements and
rehearsals, and then, instead of a registration, a push. One that dies has pushed what it had done, and the next run
goes on from its store. Two builders at once do no harm, because the first build of a key stays, and seldom work twice
(`operations.build_claims`).
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from reconciler.domain import digest as digests
from reconciler.domain.changes import Convert, FetchSource, LongWork, Measure, MeasureCandidate, VerifyCandidate
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import Paused, Problem, ReconcilerError, RuntimeUnavailable, UsageError
from reconciler.domain.layout import CLAIMS, WORK
from reconciler.domain.machine.registries import LOCAL, RegistrySettings
from reconciler.domain.manifest import LabelSelector
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.plan import Held, Outcome
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER
from reconciler.engine.executor import carry_out
from reconciler.engine.job_queue import JobQueue
from reconciler.engine.machine import Machine, at_any_time
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_context import PassContext, Workers
from reconciler.engine.planning import Others, Snapshot, take_snapshot
from reconciler.engine.reconciler import beginning
from reconciler.engine.registries import RegistryLookup
from reconciler.engine.steps import Steps
from reconciler.fleet.inventory_form import read_inventories
from reconciler.gates.fidelity import FidelityGate
from reconciler.gates.judgement import judge_release
from reconciler.host import durable
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.selector import labels_of, mismatch
from reconciler.operations import build_claims
from reconciler.operations.build_claims import BuildClaims
from reconciler.operations.building.pushing import absent_from, push_build
from reconciler.operations.signing import Signer

if TYPE_CHECKING:  # it loads where a registry is asked
    from reconciler.registry.client import RegistryClient

THERE, PUSHED, FAILED, WAITS = "there", "pushed", "failed", "held"
_WORK = (FetchSource, Convert, MeasureCandidate)
_NOT_HERE = "ProviderMissing"
_UNKNOWN = "neither compared with its source nor loaded: this machine lacks {}, so nothing is known of it"
_HOW_TO_KNOW = "build it on a machine that has the provider, or have it compared (a ready model: `original`)"
AHEAD = 1  # conversions that wait for their turn, so that the converter stays warm


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The `number`-th of `count` parts. A variant is in the same part on every machine, also before its source was
    fetched."""

    number: int = 1
    count: int = 1

    def has(self, variant: str) -> bool:
        return int(digests.of_value(variant)[7:23], 16) % self.count == self.number - 1


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
    machine: Machine,
    parsed: Parsed,
    reporter: Reporter,
    options: Options,
    shard: Shard,
    say: Callable[[str], None],
    *,
    ignore_claims: bool = False,
    signer: Signer | None = None,
) -> BuildResult:
    """The caller holds the lock. `say` tells what moves. Without a `signer` nothing is signed. Raises RegistryFailed
    where a registry cannot be asked: a build that cannot be pushed is not begun."""
    if not (registries := machine.traits.pushes_to):
        hint = "add one to `registries` of the machine's configuration, with role: push or both"
        raise UsageError("there is no registry to push to", hint=hint)
    machine, parsed = _for_all(machine), _for_any_machine(parsed)
    with BuildClaims(machine, say) as claims:
        if not ignore_claims:
            claims.open(registries[0])
        return _Builder(machine, parsed, reporter, options, claims, shard=shard, say=say, signer=signer).run()


def _for_all(machine: Machine) -> Machine:
    free = at_any_time(machine)
    return replace(free, traits=replace(free.traits, convert=LOCAL))


def wanted_by(machines: Sequence[Mapping[str, str]], parsed: Parsed) -> Parsed:
    """Without the models that are for none of these machines, which are known by their labels."""
    return replace(parsed, models=tuple(one for one in parsed.models if _is_for_one_of(machines, one.node_selector)))


def _is_for_one_of(machines: Sequence[Mapping[str, str]], selector: LabelSelector | None) -> bool:
    return any(selector is None or not mismatch(selector, labels) for labels in machines)


def labels_in(folder: str) -> tuple[tuple[dict[str, str], ...], tuple[Problem, ...]]:
    """The labels of the machines with an inventory in `folder`, and which inventories cannot be read."""
    inventories, problems = read_inventories(folder)
    return tuple(labels_of(one.machine, one.labels, one.facts) for one in inventories.values()), problems


def _for_any_machine(parsed: Parsed) -> Parsed:
    return replace(parsed, models=tuple(replace(one, node_selector=None, depends_on=()) for one in parsed.models))


class _Builder:
    def __init__(
        self,
        machine: Machine,
        parsed: Parsed,
        reporter: Reporter,
        options: Options,
        claims: BuildClaims,
        *,
        shard: Shard,
        say: Callable[[str], None],
        signer: Signer | None,
    ) -> None:
        self._machine, self._parsed, self._options = machine, parsed, options
        self._claims, self._shard, self._say, self._signer = claims, shard, say, signer
        self._registries = machine.traits.pushes_to
        self._workers = Workers(machine, options)
        self._known = machine.records.failures()
        self._outcomes: list[Outcome] = []
        self._reporter, self._steps = reporter, Steps(reporter, self._outcomes)
        self._woken = threading.Event()
        self._queue = JobQueue(machine, reporter, options, self._woken.set)
        self._lacking: dict[str, list[RegistrySettings]] = {}  # by build key: the registries that do not have it
        self._ended: dict[str, Built] = {}  # by build key
        self._began = False

    def run(self) -> BuildResult:
        try:
            last = self._worked()
        finally:
            self._queue.close()
            self._workers.close()
            durable.empty(self._machine.layout.staging)
            self._machine.stamps.save()
        builds = tuple(self._ended.get(_key(one)) or self._left(one, last) for one in self._mine(last))
        return BuildResult(builds=builds, problems=last.resolution.problems, warnings=last.resolution.warnings)

    def _worked(self) -> Snapshot:
        """Until nothing is left that this builder can do. The last look at the machine."""
        while True:
            for job in self._queue.take_ended():
                act = partial(self._queue.settle, job)
                if self._steps.step(job.change, act, job.context, spent=job.seconds).status != "done":
                    self._claims.release(job.change.build_key)
                self._queue.clean(job)
            seen = self._look()
            context = PassContext(machine=self._machine, workers=self._workers, resolution=seen.resolution)
            self._queue.begin(self._next(seen), context)
            if self._push_one(seen, context):
                continue
            if not self._queue.jobs and not self._claims.waiting:
                return seen
            self._wait()

    def _wait(self) -> None:
        """For the end of a job, or until it is time to ask again for what another builder works on."""
        until = time.monotonic() + build_claims.POLL
        while not self._woken.wait(1.0):  # in pieces: on Windows Ctrl-C does not end a wait
            if self._claims.waiting and time.monotonic() > until:
                break
        self._woken.clear()

    def _look(self) -> Snapshot:
        running = [job.change for job in self._queue.jobs]
        keys = frozenset(one.build_key for one in running if isinstance(one, FetchSource | Convert))
        seen = take_snapshot(
            self._machine,
            self._parsed,
            running=keys,
            ignored=self._known,
            jobs=self._options.jobs,
            others=Others(RegistryLookup(self._machine), for_all=True),  # what it builds is for the first ring too
        )
        mine = [_key(one) for one in self._mine(seen) if one.recipe_is_known]
        waiting = {key for key in self._claims.waiting if self._claims.is_due(key)}
        self._ask(one for one in mine if one not in self._lacking or one in waiting)
        self._began = True
        return seen

    def _ask(self, build_keys: Iterable[str]) -> None:
        """Which registries lack them. One that does not answer any more, once work has begun, may be back for the
        push."""
        keys = sorted(set(build_keys))
        self._lacking |= {key: [] for key in keys}
        for settings in self._registries if keys else ():
            try:
                absent = absent_from(settings, keys, self._unsigned)
            except ReconcilerError:
                if not self._began:
                    raise
                absent = keys
            for key in absent:
                self._lacking[key].append(settings)
        for key in keys:
            if not self._lacking[key]:
                self._claims.release(key)

    def _unsigned(self, client: "RegistryClient", key: str, digest: str) -> bool:
        """Whether what a registry has lacks the signature of this builder, which has the same bytes and can judge them:
        it was pushed before there was a key, or signed with another."""
        from reconciler.registry.signatures import is_signed_by

        if self._signer is None or is_signed_by(client, digest, key, self._signer.key):
            return False
        own = self._machine.store.artifacts().get(key)
        if own is None or own.digest != digest:
            self._say(f"{key[:19]} is there without a signature of this key, and was not built here: it stays so")
            return False
        return True

    def _mine(self, seen: Snapshot) -> list[DesiredRelease]:
        """Of this part, one for each build key: what several variants share, the first of them stands for."""
        firsts = {_key(one): one for one in reversed(seen.resolution.desired.wanted)}
        return [one for one in reversed(firsts.values()) if self._shard.has(one.variant)]

    def _open(self, seen: Snapshot) -> list[DesiredRelease]:
        """What is to be worked on: lacking somewhere, or not known yet by its key."""
        mine = [one for one in self._mine(seen) if _key(one) not in self._ended]
        return [one for one in mine if not one.recipe_is_known or self._lacking[_key(one)]]

    def _next(self, seen: Snapshot) -> list[LongWork]:
        """Measurements before further conversions: what is finished is pushed first."""
        running = [job.change for job in self._queue.jobs]
        ended = [one for one in self._outcomes if one.status != "done"]
        failed = {one.change.work_key for one in ended if isinstance(one.change, _WORK)}
        keys = {key for one in self._open(seen) for key in one.work_keys}
        variants = {one.variant for one in self._open(seen)}
        work: list[LongWork] = [one for one in seen.plan.changes if isinstance(one, _WORK) and one.build_key in keys]
        work = [one for one in work if one.variant in variants or not isinstance(one, Measure)]
        work = [one for one in work if one.work_key not in failed]
        self._claims.wait_only_for({one.build_key for one in work})
        chosen: list[LongWork] = [one for one in work if isinstance(one, FetchSource)]
        measured = [one for one in work if isinstance(one, Measure) and self._take(one.build_key, one.variant)]
        chosen += measured or self._conversions(work, running)
        return beginning(chosen, running)

    def _conversions(self, work: Sequence[LongWork], running: Sequence[LongWork]) -> list[LongWork]:
        """No more than are begun soon: the others are for another builder meanwhile."""
        begun = {one.work_key for one in running}
        room = self._options.jobs + AHEAD - sum(isinstance(one, Convert) for one in running)
        chosen: list[LongWork] = []
        for one in work:
            if len(chosen) < room and isinstance(one, Convert) and one.work_key not in begun:
                chosen += [one] if self._take(one.build_key, one.variant) else []
        return chosen

    def _take(self, build_key: str, variant: str) -> bool:
        """Whether this builder may build it. Who had it before may have pushed it since the registry was asked."""
        if self._claims.has(build_key):
            return True
        if not (self._claims.is_due(build_key) and self._claims.take(build_key, variant)):
            return False
        self._ask([build_key])
        return bool(self._lacking[build_key])

    def _push_one(self, seen: Snapshot, context: PassContext) -> bool:
        """The first that needs no more long work, if there is one."""
        work = [one for one in seen.plan.changes if isinstance(one, _WORK)]
        busy = {one.build_key for one in work if not self._is_for_others(one)}
        for one in self._open(seen):
            key = _key(one)
            if one.recipe_is_known and key in seen.observed.artifacts and key not in busy:
                if self._hindered(one, seen):
                    self._claims.release(key)  # another builder may judge otherwise
                elif self._take(key, one.variant):
                    self._ended[key] = self._built(one, seen, context)
                    self._claims.release(key)
                    self._clear()
                    return True
        return False

    def _built(self, wanted: DesiredRelease, seen: Snapshot, context: PassContext) -> Built:
        key = _key(wanted)
        built = partial(Built, variant=wanted.variant, build_key=key)
        verify = [
            one for one in seen.plan.changes if isinstance(one, VerifyCandidate) and one.variant == wanted.variant
        ]
        if not verify:
            return built(status=FAILED, message="nothing was built")
        proved = self._steps.step(verify[0], partial(self._prove, verify[0], wanted, context), context)
        if proved.status == "failed":
            return built(status=FAILED, message=proved.message)
        try:
            for settings in self._lacking[key]:
                self._say(f"{wanted.variant}: pushing {key[:19]} to {settings.address}")
                signed = self._signed(wanted, settings, seen, context)
                with self._reporter.moving(f"push {wanted.variant} to {settings.address.host}") as moved:
                    push_build(settings, key, context, signed, moved)
        except ReconcilerError as error:
            return built(status=FAILED, message=str(error))
        where = ", ".join(str(one.address) for one in self._lacking[key])
        return built(status=PUSHED, message=f"{where}; {proved.message}" if proved.message else where)

    def _prove(self, change: VerifyCandidate, wanted: DesiredRelease, context: PassContext) -> None:
        """What is made for a GPU need not load where it is built, if it was compared with its source: each machine
        that pulls it loads it before it serves. Of what was neither compared nor loaded nothing is known."""
        try:
            carry_out(change, context)
        except RuntimeUnavailable as error:
            provider = wanted.release.recipe.target.execution_provider
            # guard: only what lacks its provider is pushed without being loaded
            if error.code != _NOT_HERE or provider == DEFAULT_PROVIDER.name:
                raise
            # guard: what was neither compared nor loaded is not pushed
            if not _is_compared(wanted, context.known()):
                raise RuntimeUnavailable(_UNKNOWN.format(provider), hint=_HOW_TO_KNOW, code=_NOT_HERE) from error
            raise Paused(f"not loaded here, where {provider} is missing: whoever pulls it does that") from error

    def _signed(
        self, wanted: DesiredRelease, settings: RegistrySettings, seen: Snapshot, context: PassContext
    ) -> bytes:
        """What is pushed beside it; nothing without a key."""
        if self._signer is None:
            return b""
        manifests = self._signer.manifests(_key(wanted), seen, self._parsed)
        return self._signer.bundle(wanted, settings, self._machine, manifests, context.known())

    def _left(self, wanted: DesiredRelease, seen: Snapshot) -> Built:
        """What was not worked on to its end."""
        built = partial(Built, variant=wanted.variant, build_key=_key(wanted))
        if wanted.recipe_is_known and not self._lacking[_key(wanted)]:
            return built(status=THERE)
        why = self._hindered(wanted, seen)
        if why is None:
            return built(status=FAILED, message="nothing was built")
        return built(status=WAITS if isinstance(why, Held) else FAILED, message=why.message)

    def _hindered(self, wanted: DesiredRelease, seen: Snapshot) -> Held | Outcome | None:
        outcomes = (
            one
            for one in self._outcomes
            if one.change.build_key in wanted.work_keys and one.status == "failed" and one.code != _NOT_HERE
        )
        held = (one for one in seen.plan.held if one.variant == wanted.variant)
        return next(outcomes, None) or next(held, None)

    def _is_for_others(self, work: LongWork) -> bool:
        """A measurement in the runtime, which has shown that it lacks the provider."""
        lacking = (one.change for one in self._outcomes if one.code == _NOT_HERE)
        return any(isinstance(one, _WORK) and one.work_key == work.work_key for one in lacking)

    def _clear(self) -> None:
        """What the rehearsal has left: the disk is for the next one."""
        keep = (*self._workers.folders, CLAIMS, *([WORK] if self._queue.alive else []))
        durable.empty(self._machine.layout.staging, keep=keep)


def _is_compared(wanted: DesiredRelease, known: MeasurementSet) -> bool:
    """Whether its fidelity gate judged numbers."""
    numbers = known.fidelity.get(_key(wanted)), known.releases.get(wanted.release.digest)
    verdicts = judge_release(wanted.gates, wanted.release, *numbers)
    return any(one.gate == FidelityGate.name and one.number is not None for one in verdicts)


def _key(wanted: DesiredRelease) -> str:
    return wanted.release.recipe.build_key


def counts_of(result: BuildResult) -> dict[str, int]:
    """How many of each status."""
    statuses = [one.status for one in result.builds]
    return {status: statuses.count(status) for status in (PUSHED, THERE, WAITS, FAILED) if status in statuses}
