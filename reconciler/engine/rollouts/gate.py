"""RolloutGate: which new releases wait for other machines, decided in each pass from git, this machine's name and
labels, and the reports of the ring before. Where nothing is in a Rollout, or nothing new is declared, it asks nothing.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.history import SERVED
from reconciler.domain.machine_report import MachineReport
from reconciler.domain.manifest import Model
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.domain.rollout import Rollout, RolloutMemory, WatchedRelease
from reconciler.engine.machine import Machine, machine_labels, machine_name
from reconciler.engine.rollouts.ring_reader import RingReader
from reconciler.engine.rollouts.ring_reports import NO_READER, NOT_ASKED, Look, RingReports
from reconciler.host.clock import text_of
from reconciler.machine_reports.keys import entry_name
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.selector import mismatch
from reconciler.planner.rollout import RingDecision, counts_machines, decide, ring_of, rollout_for, without_reports
from reconciler.planner.rollout_watch import advanced, evidence_of, remembering, watching, with_reports
from reconciler.state.documents import Stored
from reconciler.state.progress import rollout_progress

SAVED_EVERY = 300.0  # seconds of the watch that a crash may cost


def _is_paused(decision: RingDecision | None) -> bool:
    return decision is not None and decision.reason is Reason.ROLLOUT_PAUSED


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A new release that has to wait for the ring before `place`, if that is not the first."""

    wanted: DesiredRelease
    model: Model | None
    rollout: Rollout
    place: int

    @property
    def release(self) -> str:
        return self.wanted.release.digest

    @property
    def key(self) -> tuple[str, str]:
        return self.wanted.variant, self.release

    @property
    def asked(self) -> tuple[str, str]:
        return self.rollout.name, self.rollout.rings[self.place - 2].name


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """A decision, the look that it was made from, and the watch at which time alone may change it."""

    rollout: Rollout
    look: int
    why_not: str
    again: float | None
    decision: RingDecision


class RolloutGate:
    """Of one machine, over its passes. `labels` are asked for where a Rollout decides. `reader` None: nothing is read,
    `why_not` says why. `wake` None: what has to be read is waited for. `clock` is seconds since 1970, `ticks` the
    system's monotonic clock."""

    def __init__(
        self,
        name: str,
        labels: Callable[[], Mapping[str, str]],
        stored: Stored[RolloutMemory],
        reader: RingReader | None = None,
        *,
        wake: Callable[[], None] | None = None,
        ticks: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
        why_not: str = NOT_ASKED,
    ) -> None:
        self._name, self._labels, self._stored = name, labels, stored
        self._ticks, self._clock = ticks, clock
        self._reports = RingReports(reader, name, wake=wake, ticks=ticks, why_not=why_not)
        self._memory: RolloutMemory | None = None
        self._saved = RolloutMemory()
        self._last: float | None = None  # ticks of the pass before
        self._judged: dict[tuple[str, str], _Judged] = {}

    def holds(self, parsed: Parsed, desired: Desired, observed: Observed, recorded: Recorded) -> dict[str, Held]:
        """By variant, why its new release is not begun. Whatever serves here, or did and was not taken back, waits for
        nothing."""
        self._begin()
        memory = self._memory or RolloutMemory()
        memory = replace(memory, covered=_covered(parsed, desired, memory.covered))
        found = list(self._candidates(parsed, desired, observed, recorded, memory.covered))
        known = {one.release: one for one in memory.refused}
        decisions = {one.key: without_reports(one.rollout, one.place, one.release, known) for one in found}
        asking = [one for one in found if decisions[one.key] is None]
        waiting = (one for one in found if one in asking or _is_paused(decisions[one.key]))
        memory = watching(memory, {one.wanted.variant: one.release for one in waiting}, self._since_last())
        self._reports.wait_for(_by_ring(asking))
        for one in asking:
            memory, decisions[one.key] = self._decided(one, memory)
        self._judged = {key: held for key, held in self._judged.items() if key in decisions}
        self._memory = memory
        return {one.wanted.variant: held for one in found if (held := self._held(one, decisions[one.key])) is not None}

    def save(self) -> None:
        """What was seen; the caller holds the lock. Nothing is written where nothing changed but the time."""
        memory = self._memory
        if memory is None:
            return
        news = replace(memory, watch=0.0, ticks=0.0) != replace(self._saved, watch=0.0, ticks=0.0)
        if news or (memory.watched and memory.watch - self._saved.watch >= SAVED_EVERY):
            self._stored.write(memory)
            self._saved = memory

    @property
    def next_look(self) -> float | None:
        """By the monotonic clock, when a pass will look at reports next; None: not at all."""
        return self._reports.next_look

    def _begin(self) -> None:
        if self._memory is None:
            self._memory = self._saved = self._stored.read()
        self._memory = advanced(self._memory, self._ticks())

    def _since_last(self) -> float | None:
        before, self._last = self._last, self._ticks()
        return None if before is None else self._last - before

    def _candidates(
        self, parsed: Parsed, desired: Desired, observed: Observed, recorded: Recorded, covered: Mapping[str, str]
    ) -> Iterator[_Candidate]:
        models = {model.name: model for model in parsed.models}
        labels: Mapping[str, str] | None = None
        for wanted in desired.wanted:
            rollout = _rollout(wanted.release.model, parsed, desired, covered)
            if rollout is None or not _is_new(wanted, observed, recorded):
                continue
            rollout = _by_entries(rollout)
            labels = self._labels() if labels is None else labels
            names = {*self._reports.known_names(), self._name} if counts_machines(rollout) else ()
            place = ring_of(rollout, self._name, labels, names)
            yield _Candidate(wanted=wanted, model=models.get(wanted.release.model), rollout=rollout, place=place)

    def _decided(self, one: _Candidate, memory: RolloutMemory) -> tuple[RolloutMemory, RingDecision]:
        """Made anew with each look, and only then: where time alone is lacking a look is due when that is over. So
        nothing begins by what was read long ago, and the words stay the same in between."""
        before = self._judged.get(one.key)
        look = self._reports.look(one.rollout, one.place - 1, one.release)
        if before is not None and (before.look, before.why_not, before.rollout) == (
            look.number,
            look.why_not,
            one.rollout,
        ):
            return memory, before.decision
        watched = next((each for each in memory.watched if (each.variant, each.release) == one.key), None)
        if watched is None:  # more wait than are remembered
            watched = WatchedRelease(variant=one.wanted.variant, release=one.release, begun=memory.watch)
        meant = _meant(one.model, one.wanted.variant, look)
        new = with_reports(watched, meant.reports, memory.watch)
        memory = replace(memory, watched=tuple(new if each == watched else each for each in memory.watched))
        decision = self._judge(one, new, meant, memory.watch)
        again = memory.watch + decision.wait if decision.wait is not None else None
        if decision.wait is not None:
            self._reports.look_within(one.rollout, one.place - 1, decision.wait)
        self._judged[one.key] = _Judged(
            rollout=one.rollout, look=look.number, why_not=look.why_not, again=again, decision=decision
        )
        return remembering(memory, [decision.refused] if decision.refused else []), decision

    def _judge(self, one: _Candidate, watched: WatchedRelease, look: Look, watch: float) -> RingDecision:
        moment = text_of(self._clock())
        found = evidence_of(
            watched, look.names, watch, moment, members=look.members, also=look.also, doubted=look.doubted
        )
        return decide(one.rollout, one.place, one.release, replace(found, unread=look.unread, why_not=look.why_not))

    def _held(self, one: _Candidate, decision: RingDecision | None) -> Held | None:
        if decision is None or decision.reason is None:
            return None
        judged, until = self._judged.get(one.key), ""
        if judged is not None and judged.again is not None and self._memory is not None:
            until = text_of(self._clock() + max(judged.again - self._memory.watch, 1.0))
        return Held(variant=one.wanted.variant, reason=decision.reason, message=decision.message, until=until)


def rollout_gate(
    machine: Machine, reader: RingReader | None = None, wake: Callable[[], None] | None = None, why_not: str = NO_READER
) -> RolloutGate:
    return RolloutGate(
        entry_name(machine_name(machine)),
        partial(machine_labels, machine),
        rollout_progress(machine.layout),
        reader,
        wake=wake,
        why_not=why_not,
    )


def _by_ring(waiting: Iterable[_Candidate]) -> dict[tuple[str, str], frozenset[str]]:
    """The releases that wait for each ring."""
    found: dict[tuple[str, str], set[str]] = {}
    for one in waiting:
        found.setdefault(one.asked, set()).add(one.release)
    return {asked: frozenset(releases) for asked, releases in found.items()}


def _covered(parsed: Parsed, desired: Desired, before: Mapping[str, str]) -> dict[str, str]:
    """By model, the Rollout that is about it. While manifests cannot be read, what was known stays."""
    found = {
        model.name: one.name
        for model in parsed.models
        for one in parsed.rollouts
        if not one.broken and one.is_about(model.name)
    }
    return found if desired.complete else {**before, **found}


def _rollout(model: str, parsed: Parsed, desired: Desired, covered: Mapping[str, str]) -> Rollout | None:
    """A Rollout that was there, in a file that cannot be read now, still holds."""
    found = rollout_for(parsed.rollouts, model)
    if found is not None or desired.complete or model not in covered:
        return found
    lost = "its file cannot be read while manifests have problems"
    return Rollout(name=covered[model], file="manifests", line=0, rings=(), covers=frozenset({model}), broken=lost)


def _by_entries(rollout: Rollout) -> Rollout:
    """With machines as their reports and keys are called."""
    if not any(ring.machines for ring in rollout.rings):
        return rollout
    rings = (replace(ring, machines=tuple(map(entry_name, ring.machines))) for ring in rollout.rings)
    return replace(rollout, rings=tuple(rings))


def _is_new(wanted: DesiredRelease, observed: Observed, recorded: Recorded) -> bool:
    """A release that this machine does not serve, and never served well. One that is not known before its source is
    here does not wait yet: only its source is fetched."""
    if wanted.override is not None or not wanted.recipe_is_known:
        return False
    digest, variant = wanted.release.digest, wanted.variant
    if any(one.release == digest for one in observed.registrations_of.get(variant, ()) if observed.owns(one.owner)):
        return False
    record = recorded.releases.get(variant)
    if record is not None and record.release == digest:
        return False
    # guard: going back to what served here waits for no ring
    return not any(
        one.number and one.digest == digest and one.outcome == SERVED for one in recorded.history.get(variant, ())
    )


def _meant(model: Model | None, variant: str, look: Look) -> Look:
    """Without the machines that the model is not for, and without those that chose another precision of it."""
    if model is None or (model.node_selector is None and not model.chooses):
        return look
    selector = model.node_selector
    others = {one.machine for one in look.reports if selector is not None and mismatch(selector, one.labels)}
    if model.chooses:
        others |= {one.machine for one in look.reports if _chose_another(one, model, variant)}
    names = tuple(name for name in look.names if name not in others)
    also = tuple(name for name in look.also if name not in others)
    reports: tuple[MachineReport, ...] = tuple(one for one in look.reports if one.machine not in others)
    members = look.members - len(others.intersection(look.names))
    if model.chooses and look.names and not names:
        why_not = f"no machine of it has chosen {variant}: `reconciler rollout promote` when that is meant"
        look = replace(look, why_not=look.why_not or why_not)
    return replace(look, names=names, also=also, reports=reports, members=members)


def _chose_another(report: MachineReport, model: Model, variant: str) -> bool:
    wanted = {one.variant for one in report.variants if one.model == model.name and one.wanted}
    return bool(wanted) and variant not in wanted
