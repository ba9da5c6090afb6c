"""Rings: whether a machine may serve a new release now, by the Rollout in git and the reports of the ring before its
own. Pure: each case is a row of a table.

    ring_of(rollout, machine, labels)      which ring a machine is in: from git and its own name and labels alone
    judge_ring(ring, evidence)             whether a ring has shown enough for the next one to begin
    decide(rollout, place, release, ...)   what that means for this machine

What decides how long a ring has served a release is never one machine's clock. The time that counts is the one that
as many machines have reached as must be ready (`ready_share`): by what this reader has watched itself, or, where at
least WITNESSES machines must be ready, by what each of them says of itself between two times of its own clock; and that
no further than the reader can know the release to exist.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil

from reconciler.domain.reasons import Reason
from reconciler.domain.rollout import Evidence, RefusedCandidate, Ring, RingEvidence, Rollout, position
from reconciler.domain.text.quoting import few
from reconciler.domain.text.units import period_text
from reconciler.manifests.selector import mismatch

WITNESSES = 3  # so many machines must agree before their own times count
MOST_NAMED = 3  # machines in a message


def ring_of(rollout: Rollout, machine: str, labels: Mapping[str, str] | None, names: Collection[str] = ()) -> int:
    """1 for the first; one more than there are for a machine that is in none; 0 where that depends on `labels`, and
    they are None. `names` are all machines that are known: without them no machine is in a ring by `count`, so it comes
    later rather than earlier."""
    here = position(rollout.name, machine)
    rank = None
    if machine in names and counts_machines(rollout):
        rank = sum(position(rollout.name, one) < here for one in names)
    return _ring(rollout, machine, labels, here, rank)


def rings_of(
    rollout: Rollout, labels: Mapping[str, Mapping[str, str] | None], names: Collection[str]
) -> dict[str, int]:
    """`ring_of` for many machines, by name."""
    line = sorted((position(rollout.name, name), name) for name in names) if counts_machines(rollout) else ()
    ranks = {name: rank for rank, (_, name) in enumerate(line)}
    return {
        name: _ring(rollout, name, own, position(rollout.name, name), ranks.get(name)) for name, own in labels.items()
    }


def rings_by_name(rollout: Rollout, names: Collection[str]) -> dict[str, int]:
    """The ring of each of these machines, which are all that are known; 0 where its labels decide."""
    return rings_of(rollout, dict.fromkeys(names), names)


def _ring(rollout: Rollout, machine: str, labels: Mapping[str, str] | None, here: float, rank: int | None) -> int:
    """`here` is its position on the line of shares, `rank` its place among all that are known."""
    line, counted = 0.0, 0
    for number, ring in enumerate(rollout.rings, 1):
        start, first = line, counted
        line, counted = line + (ring.share or 0.0), counted + (ring.count or 0)
        if ring.share is not None and not start <= here < line:
            continue
        if ring.count is not None and (rank is None or not first <= rank < counted):
            continue
        if ring.machines and machine not in ring.machines:
            continue
        if ring.node_selector is None:
            return number
        if labels is None:
            return 0
        if not mismatch(ring.node_selector, labels):
            return number
    return len(rollout.rings) + 1


def counts_machines(rollout: Rollout) -> bool:
    return any(ring.count is not None for ring in rollout.rings)


@dataclass(frozen=True, kw_only=True)
class RingState:
    """`opens`: the next ring may begin. `stopped`: it must not, until a person says so. `wait`: seconds after which it
    opens if nothing else happens, where time alone is lacking. `message` says what is there and what is lacking."""

    opens: bool = False
    stopped: bool = False
    wait: float | None = None
    message: str = ""
    ready: int = 0
    needed: int = 0
    read: int = 0
    refusing: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


def judge_ring(ring: Ring, silent_after: float, found: RingEvidence) -> RingState:
    read = sorted({one.machine: one for one in found.read}.values(), key=lambda one: one.machine)
    refusing = [one for one in (*read, *found.also) if one.refused]
    if found.why_not or not (read or refusing):
        return RingState(message=found.why_not or f"no machine of it has reported{_doubts(found)}")
    silent = [one for one in read if is_silent(one, silent_after)]
    serving = [one for one in read if one.serves and not one.refused and one not in silent]
    needed = max(ceil(ring.ready_share * len(read) - 1e-9), 1)
    state = RingState(
        ready=len(serving),
        needed=needed,
        read=len(read),
        refusing=tuple(one.machine for one in refusing),
        silent=tuple(one.machine for one in silent),
    )
    more = f"; nothing new for {period_text(silent_after)} from {_named(silent)}" if silent else ""
    more += _doubts(found)
    if len(refusing) > ring.failure_limit:
        why = f"{_named(refusing)} refused it: {refusing[0].refused}"
        return replace(state, message=f"{why}{_limit(ring, refusing)}", stopped=True)
    # guard: who says to refuse it and was not read opens no ring
    if found.unread:
        return replace(
            state, message=f"{found.unread:,} machines say to refuse it, beside those whose reports were read"
        )
    count = f"{len(serving)} of {_of(len(read), found.members)} serve it and are Ready"
    if len(serving) < needed:
        return replace(state, message=f"{count}, {needed} must (readyShare {ring.ready_share:g}){more}")
    served = _served_for(serving, needed, found.known_for)
    if served >= ring.soak:
        return replace(state, message=f"{count}, for {period_text(ring.soak)} and more", opens=True)
    watched = _nth(sorted((one.watched for one in serving), reverse=True), needed)
    text = f"{count}, for {period_text(served)} of {period_text(ring.soak)} (soak){more}"
    return replace(state, message=text, wait=ring.soak - watched)


def is_silent(one: Evidence, silent_after: float) -> bool:
    """Whether nothing new was heard of it for too long: watched here, or by the times of the reports."""
    return one.unchanged > silent_after or one.behind > silent_after


def _served_for(serving: list[Evidence], needed: int, known_for: float | None) -> float:
    """Seconds that as many machines as are needed have served it."""
    watched = sorted((one.watched for one in serving), reverse=True)
    # guard: one machine's clock opens no ring
    if needed < WITNESSES:
        return _nth(watched, needed)
    latest = float("inf") if known_for is None else known_for
    credited = sorted((max(one.watched, min(one.claimed, latest)) for one in serving), reverse=True)
    return _nth(credited, needed)


def _nth(falling: list[float], number: int) -> float:
    return falling[number - 1]


def _of(read: int, members: int) -> str:
    return f"{read} machines" if members <= read else f"{read} machines (drawn from {members:,})"


def _limit(ring: Ring, refusing: list[Evidence]) -> str:
    return f" ({len(refusing)} of at most {ring.failure_limit}, failureLimit)" if ring.failure_limit else ""


def _named(found: Iterable[Evidence]) -> str:
    return few([one.machine for one in found], MOST_NAMED)


def _doubts(found: RingEvidence) -> str:
    return f"; not counted: {few(found.doubted, MOST_NAMED)}" if found.doubted else ""


@dataclass(frozen=True, kw_only=True)
class RingDecision:
    """Whether a machine may begin to serve a release. Where not: `reason`, `message`, `wait` as in RingState, and what
    to remember where the release stopped for good."""

    reason: Reason | None = None
    message: str = ""
    wait: float | None = None
    refused: RefusedCandidate | None = None

    @property
    def may(self) -> bool:
        return self.reason is None


GO = RingDecision()


def without_reports(
    rollout: Rollout, place: int, release: str, remembered: Mapping[str, RefusedCandidate]
) -> RingDecision | None:
    """What can be decided from git and this machine's memory alone; None where the ring before has to be asked."""
    about = f"Rollout {rollout.name}"
    if rollout.broken:
        message = f"{about} ({rollout.where}) holds back what it is about: {rollout.broken}"
        return RingDecision(reason=Reason.AWAITING_RING, message=message)
    # guard: an aborted release goes no further
    if (aborted := rollout.aborts(release)) is not None:
        return RingDecision(
            reason=Reason.ROLLOUT_FAILED, message=f"{about}: {release[:19]} is aborted: {aborted.reason}"
        )
    promoted = rollout.promoted_to(release)
    if place <= promoted:
        return GO
    if rollout.paused:
        return RingDecision(reason=Reason.ROLLOUT_PAUSED, message=f"{about} is paused ({rollout.where})")
    # guard: what has stopped once stays stopped
    if not promoted and (stopped := remembered.get(release)) is not None and stopped.rollout == rollout.name:
        return _stopped(stopped)
    return GO if place <= 1 else None


def decide(rollout: Rollout, place: int, release: str, found: RingEvidence) -> RingDecision:
    """Where `without_reports` says nothing. `place` is this machine's ring, `found` is about the one before."""
    before = rollout.rings[place - 2]
    state = judge_ring(before, rollout.silent_after, found)
    if state.opens:
        return GO
    if state.stopped:
        refused = RefusedCandidate(release=release, rollout=rollout.name, ring=before.name, message=state.message)
        return _stopped(refused, remember=True)
    own = rollout.rings[place - 1].name if place <= len(rollout.rings) else ""
    who = f"ring {own}" if own else "a machine in no ring"
    message = f"{who} of Rollout {rollout.name} waits for ring {before.name}: {state.message}"
    return RingDecision(reason=Reason.AWAITING_RING, message=message, wait=state.wait)


def _stopped(refused: RefusedCandidate, *, remember: bool = False) -> RingDecision:
    message = f"Rollout {refused.rollout}: {refused.release[:19]} stopped in ring {refused.ring}: {refused.message}"
    return RingDecision(reason=Reason.ROLLOUT_FAILED, message=message, refused=refused if remember else None)


def rollout_for(rollouts: Iterable[Rollout], model: str) -> Rollout | None:
    """The one that is about the model. One that is broken before one that is not: then it waits."""
    about = [one for one in rollouts if one.is_about(model)]
    return next((one for one in about if one.broken), about[0] if about else None)
