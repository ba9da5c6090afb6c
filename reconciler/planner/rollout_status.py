"""How far the releases of a Rollout have come, from the reports of all machines; and in which order they will go. For
people, who have watched nothing themselves: how long a release serves is each machine's word here. Machines decide by
planner.rollout. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from reconciler.domain.machine_report import MachineReport
from reconciler.domain.manifest import LabelSelector
from reconciler.domain.rollout import Ring, Rollout, WatchedRelease
from reconciler.domain.text.quoting import count_of, few
from reconciler.domain.text.units import period_text
from reconciler.planner.rollout import RingState, judge_ring, rings_of
from reconciler.planner.rollout_watch import evidence_of, with_reports

MOST_CANDIDATES = 3  # of a variant
MOST_NAMED = 5  # machines of a ring


@dataclass(frozen=True, kw_only=True)
class RingProgress:
    """`name` is "" for machines in no ring. `machines` are all that are known to be in it."""

    name: str
    machines: tuple[str, ...]
    state: RingState


@dataclass(frozen=True, kw_only=True)
class CandidateProgress:
    """One release of a variant: how many machines want it (their commit declares it), and what each ring shows. `phase`
    is Paused, Aborted, Failed, Succeeded or Progressing."""

    variant: str
    release: str
    wanted_by: int
    phase: str
    rings: tuple[RingProgress, ...]


def progress(
    rollout: Rollout, reports: Sequence[MachineReport], names: Collection[str], now: str, missing: Collection[str] = ()
) -> tuple[CandidateProgress, ...]:
    """Of each variant what most machines want, and what else some do. `names` are all machines that are known; those of
    them in `missing` have no report that counts, and are not ready, as for the machines that wait."""
    wanted: Counter[tuple[str, str]] = Counter(
        (one.variant, one.wanted)
        for report in reports
        for one in report.variants
        if one.wanted and rollout.is_about(one.model)
    )
    places = rings_of(rollout, dict.fromkeys(missing) | {one.machine: one.labels for one in reports}, names)
    found, shown = [], Counter[str]()
    for (variant, release), count in sorted(wanted.items(), key=lambda one: (one[0][0], -one[1], one[0][1])):
        shown[variant] += 1
        if shown[variant] <= MOST_CANDIDATES:
            rings = tuple(_rings(rollout, variant, release, reports, places, now))
            phase = _phase(rollout, release, rings)
            found.append(CandidateProgress(variant=variant, release=release, wanted_by=count, phase=phase, rings=rings))
    return tuple(found)


def _rings(
    rollout: Rollout, variant: str, release: str, reports: Sequence[MachineReport], places: dict[str, int], now: str
) -> Iterator[RingProgress]:
    watched = WatchedRelease(variant=variant, release=release, begun=0.0)
    reported = {one.machine for one in reports}
    about = [one for one in reports if one.variant(variant) is not None]
    for number in range(1, len(rollout.rings) + 2):
        here = [one for one in about if places[one.machine] == number]
        ring = rollout.rings[number - 1] if number <= len(rollout.rings) else Ring(name="")
        silent = [name for name, place in places.items() if place == number and name not in reported]
        if here or silent or ring.name:
            machines = tuple(sorted([*(one.machine for one in here), *silent]))
            found = evidence_of(with_reports(watched, here, 0.0), machines, 0.0, now, members=len(machines))
            believed = replace(found, read=tuple(replace(one, watched=one.claimed) for one in found.read))
            state = judge_ring(ring, rollout.silent_after, believed)
            yield RingProgress(name=ring.name, machines=machines, state=state)


def _phase(rollout: Rollout, release: str, rings: Sequence[RingProgress]) -> str:
    if rollout.aborts(release):
        return "Aborted"
    if any(one.state.stopped for one in rings) and not rollout.promoted_to(release):
        return "Failed"
    if all(one.state.ready >= one.state.needed for one in rings if one.machines):
        return "Succeeded"
    return "Paused" if rollout.paused else "Progressing"


@dataclass(frozen=True, kw_only=True)
class RingForecast:
    """`who` are the machines of the ring and `when` they will get a new release, in words."""

    ring: str
    who: str
    when: str


def forecast(rollout: Rollout, release: str = "") -> tuple[RingForecast, ...]:
    """Who will get a new release when, from the Rollout alone. `release` "": not known yet."""
    if rollout.broken:
        return (RingForecast(ring="", who="all machines", when=f"not at all: {rollout.broken}"),)
    found, before = [], None
    for number, ring in enumerate(rollout.rings, 1):
        found.append(RingForecast(ring=ring.name, who=who_is_in(ring), when=_when(rollout, number, before, release)))
        before = ring
    return tuple(found)


def _when(rollout: Rollout, number: int, before: Ring | None, release: str) -> str:
    if release and (aborted := rollout.aborts(release)):
        return f"not at all: it is aborted ({aborted.reason})"
    if release and number <= rollout.promoted_to(release):
        return "at once: it is promoted"
    if rollout.paused:
        return "when the Rollout is not paused any more"
    if before is None:
        return "at once"
    limit = f"at most {before.failure_limit} refusing it" if before.failure_limit else "none refusing it"
    soak = f" for {period_text(before.soak)}" if before.soak else ""
    return f"after ring {before.name} has served it{soak}, {before.ready_share:.0%} of it Ready and {limit}"


def who_is_in(ring: Ring) -> str:
    parts = []
    if ring.node_selector is not None:
        parts.append(f"machines with {selector_text(ring.node_selector)}")
    if ring.machines:
        parts.append(few(ring.machines, MOST_NAMED))
    if ring.share is not None:
        parts.append(f"{ring.share:.3g} of all machines" if ring.share < 0.01 else f"{ring.share:.0%} of all machines")
    if ring.count is not None:
        parts.append(count_of(ring.count, "machine"))
    return ", ".join(parts) or "all others"


def selector_text(selector: LabelSelector) -> str:
    labels = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    rules = [f"{one.key} {one.operator} {', '.join(one.values)}".rstrip() for one in selector.match_expressions]
    return " and ".join([*labels, *rules]) or "any labels"
