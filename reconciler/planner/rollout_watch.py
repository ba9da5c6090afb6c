"""What a machine makes of other machines' reports over time: from reports to the evidence that rings are judged by.
Pure: the watch and the time are given.

The watch is this reader's own count of seconds that have passed for sure. It goes by the system's monotonic clock,
which no one sets; over a restart of the system only the time since then counts. So it is never ahead, whatever clocks
say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from statistics import median

from reconciler.domain.machine_report import MachineReport, VariantReport
from reconciler.domain.reasons import Reason
from reconciler.domain.rollout import (
    Evidence,
    RefusedCandidate,
    RingEvidence,
    RolloutMemory,
    WatchedMachine,
    WatchedRelease,
)

MOST_REMEMBERED = 200  # refused releases, the newest
MOST_WATCHED = 200  # releases


def advanced(memory: RolloutMemory, ticks: float) -> RolloutMemory:
    """With the seconds since it was written. After a restart of the system the monotonic clock begins anew: then only
    what it shows has passed for sure."""
    passed = ticks - memory.ticks if ticks >= memory.ticks else ticks
    return replace(memory, watch=memory.watch + passed, ticks=ticks)


def watching(memory: RolloutMemory, wanted: Mapping[str, str], since_last_pass: float | None) -> RolloutMemory:
    """With these releases (by variant) that wait here, and no others."""
    known = {(one.variant, one.release): one for one in memory.watched}
    new = {
        key: WatchedRelease(variant=key[0], release=key[1], begun=memory.watch, gap=since_last_pass)
        for key in wanted.items()
    }
    watched = tuple(known.get(key, one) for key, one in sorted(new.items()))[:MOST_WATCHED]
    return memory if watched == memory.watched else replace(memory, watched=watched)


def with_reports(one: WatchedRelease, reports: Iterable[MachineReport], watch: float) -> WatchedRelease:
    """After reading these reports, which all count. One that is not newer than what was seen changes nothing."""
    machines = {seen.machine: seen for seen in one.machines}
    for report in reports:
        before = machines.get(report.machine)
        order = order_of(report)
        if before is None or order > before.order:
            machines[report.machine] = _seen(report, order, before, one, watch)
    found = tuple(machines[name] for name in sorted(machines))
    return one if found == one.machines else replace(one, machines=found)


def order_of(report: MachineReport) -> int:
    """What only grows from one report of a machine to the next."""
    return report.counter or int(_unix(report.generated))


def _seen(
    report: MachineReport, order: int, before: WatchedMachine | None, one: WatchedRelease, watch: float
) -> WatchedMachine:
    variant = report.variant(one.variant)
    serves = variant is not None and variant.serves == one.release and variant.is_ready
    since = before.serving if before is not None and before.serving is not None else watch
    return WatchedMachine(
        machine=report.machine,
        order=order,
        generated=report.generated,
        changed=watch,
        renewed=before is not None,
        serving=since if serves else None,
        claimed=_claimed(variant, report.generated) if serves and variant is not None else 0.0,
        refused=_refused(variant, one.release) if variant is not None else "",
    )


def _claimed(variant: VariantReport, generated: str) -> float:
    """Between two times of one report, so by one clock."""
    return max(_unix(generated) - max(_unix(variant.since), _unix(variant.ready_since)), 0.0)


def _refused(variant: VariantReport, release: str) -> str:
    """Also where the machine has heard of it from a ring before its own: so what one machine saw comes to all."""
    if variant.serves == release:  # it was let through since
        return ""
    found = variant.refuses(release)
    if found is not None:
        return f"{found.outcome}: {found.message}" if found.message else found.outcome
    return variant.message if (variant.wanted, variant.reason) == (release, Reason.ROLLOUT_FAILED) else ""


def _unix(moment: str) -> float:
    """Seconds since 1970. What is no time is later than all: then nothing can be claimed by it."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return float(1 << 40)


def evidence_of(
    one: WatchedRelease,
    names: Iterable[str],
    watch: float,
    now: str,
    *,
    members: int,
    also: Iterable[str] = (),
    doubted: tuple[str, ...] = (),
) -> RingEvidence:
    """About the machines in `names`, which are those of a ring that were to be read, and what those in `also` refuse.
    One that was never heard of shows nothing. `now` is the reader's clock: it can make reports look older, never
    younger."""
    seen = {machine.machine: machine for machine in one.machines}
    names = sorted(names)
    times = [_unix(seen[name].generated) for name in names if name in seen]
    newest = max(median(times), _unix(now)) if times else 0.0
    known_for = None if one.gap is None else watch - one.begun + one.gap
    read = tuple(_evidence(seen.get(name), name, watch, newest) for name in names)
    others = tuple(_evidence(seen.get(name), name, watch, newest) for name in sorted(also))
    return RingEvidence(read=read, also=others, members=members, known_for=known_for, doubted=doubted)


def _evidence(seen: WatchedMachine | None, name: str, watch: float, newest: float) -> Evidence:
    if seen is None:
        return Evidence(machine=name)
    return Evidence(
        machine=name,
        serves=seen.serving is not None,
        claimed=seen.claimed,
        watched=watch - seen.serving if seen.serving is not None else 0.0,
        unchanged=watch - seen.changed,
        behind=0.0 if seen.renewed else max(newest - _unix(seen.generated), 0.0),
        refused=seen.refused,
    )


def remembering(memory: RolloutMemory, refused: Iterable[RefusedCandidate]) -> RolloutMemory:
    """The newest last; each release of a Rollout once, with what was seen first."""
    known = {(one.rollout, one.release) for one in memory.refused}
    new = tuple(one for one in refused if (one.rollout, one.release) not in known)
    return replace(memory, refused=(*memory.refused, *new)[-MOST_REMEMBERED:]) if new else memory
