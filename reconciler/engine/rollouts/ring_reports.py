"""RingReports: the reports of the rings that something here waits for, read seldom and never in a pass's way.

A look at a ring reads the reports of at most MOST_READ of its machines: of a large ring each reader draws others. So
that no refusal is missed, one listing finds who else says to refuse what waits here, and these reports are read too.
Between two looks nothing is asked. In a daemon a look runs in a thread of its own, and wakes the loop when it ends;
`apply` and `plan` wait for it.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from reconciler.domain.backoff import Backoff, spread
from reconciler.domain.errors import ReconcilerError
from reconciler.domain.machine_report import VERIFIED, JudgedReport, MachineReport
from reconciler.domain.rollout import Rollout
from reconciler.engine import log
from reconciler.engine.rollouts.ring_reader import RingReader
from reconciler.engine.timetable import share_of
from reconciler.planner.rollout import rings_of

MOST_READ = 150  # a first ring of 1 % of 10,000 machines is read whole
MOST_UNDECIDED = 500  # machines whose ring only their labels decide, where no index says which these are
AGAIN = Backoff(first=60.0, longest=3600.0)  # after a source that did not answer
SOONEST, LATEST = 30.0, 6 * 3600.0  # seconds between two looks at a ring
FIRST, LAST = 1 / 64, 1 / 4  # of its soak: twice as long each time, so that what it begins to serve is seen soon


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look at a ring found. `names` are the machines whose reports count for it, read or not heard of; `also`
    are others of it that were read because they say to refuse what waits; `unread` counts those that were too many to
    read; `members` counts all of its machines.
    `asked` are the releases that it was about. `number` tells looks apart."""

    number: int = 0
    names: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    unread: int = 0
    reports: tuple[MachineReport, ...] = ()
    members: int = 0
    asked: frozenset[str] = frozenset()
    doubted: tuple[str, ...] = ()
    why_not: str = ""


NOT_YET = Look(why_not="its reports are being read")
NO_READER = "this machine reads no reports (`reports` of its configuration)"
NOT_ASKED = "the reports were not asked for now"


@dataclass
class _Ring:
    look: Look = NOT_YET
    releases: frozenset[str] = frozenset()  # that wait for it
    next: float = 0.0  # by the monotonic clock
    begun: float = 0.0
    looks: int = 0
    failures: int = 0
    thread: threading.Thread | None = field(default=None)


class RingReports:
    """`identity` draws the machines that are read, and the moment. `wake` None: a look is waited for. `why_not` is said
    where there is no `reader`."""

    def __init__(
        self,
        reader: RingReader | None,
        identity: str,
        *,
        wake: Callable[[], None] | None = None,
        ticks: Callable[[], float] = time.monotonic,
        why_not: str = NO_READER,
    ) -> None:
        self._nothing = Look(why_not=why_not)
        self._reader, self._identity, self._wake, self._ticks = reader, identity, wake, ticks
        self._rings: dict[tuple[str, str], _Ring] = {}
        self._lock = threading.Lock()
        self._number = 0
        self._names: Collection[str] = ()
        self._names_next = 0.0

    def known_names(self) -> Collection[str]:
        """For rings by count."""
        if self._reader is not None and self._ticks() >= self._names_next:
            self._names_next = self._ticks() + AGAIN.longest
            with log.best_effort("rollout.names"):
                self._names = self._reader.names()
        return self._names

    @property
    def next_look(self) -> float | None:
        return min((state.next for state in self._rings.values()), default=None)

    def look(self, rollout: Rollout, number: int, release: str) -> Look:
        """The newest look at that ring; a new one begins where it is due. `release` is one that is waited for
        (`wait_for`): an earlier look was not about it, and its refusal might be missed."""
        if self._reader is None:
            return self._nothing
        state = self._rings.setdefault((rollout.name, rollout.rings[number - 1].name), _Ring())
        if self._ticks() >= state.next and state.thread is None:
            self._begin(rollout, number, state)
        with self._lock:
            # guard: a look is about the release
            is_about = release in state.look.asked or state.look.why_not
            return state.look if is_about else replace(state.look, why_not=NOT_YET.why_not)

    def look_within(self, rollout: Rollout, number: int, seconds: float) -> None:
        """The next look comes no later: by then time alone may open the ring."""
        state = self._rings.get((rollout.name, rollout.rings[number - 1].name))
        if state is not None and not state.failures:
            state.next = max(min(state.next, self._ticks() + seconds), state.begun + SOONEST)

    def wait_for(self, asked: Mapping[tuple[str, str], frozenset[str]]) -> None:
        """The releases that wait for each ring (by Rollout and name). What is new asks at once; rings that nothing
        waits for any more are read anew when something does."""
        for key in [key for key in self._rings if key not in asked and self._rings[key].thread is None]:
            del self._rings[key]
        for key, releases in asked.items():
            state = self._rings.setdefault(key, _Ring())
            if releases - state.releases and not state.failures:
                state.next = self._ticks()
            state.releases = releases

    def _begin(self, rollout: Rollout, number: int, state: _Ring) -> None:
        soak = rollout.rings[number - 1].soak
        pause = min(max(soak * min(FIRST * 2.0**state.looks, LAST), SOONEST), LATEST)
        state.looks += 1
        state.begun = self._ticks()
        state.next = self._ticks() + spread(pause, 0.75, 1.25, share_of(self._identity, rollout.name))
        if self._wake is None:
            self._read(rollout, number, state, state.releases)
            return
        order = (rollout, number, state, state.releases)
        state.thread = threading.Thread(target=self._read, args=order, daemon=True, name="reports")
        state.thread.start()

    def _read(self, rollout: Rollout, number: int, state: _Ring, releases: frozenset[str]) -> None:
        try:
            found = self._looked(rollout, number, releases)
            failures = 0
        except ReconcilerError as error:
            failures = state.failures + 1
            found = Look(why_not=f"the reports cannot be read: {error}")
            log.warning("reports.unread", code=error.code, message=str(error), failures=failures)
        with self._lock:
            self._number += 1
            if failures:  # what was seen before still stands
                found = replace(state.look, why_not=found.why_not)
                state.next = self._ticks() + spread(AGAIN.after(failures), 0.75, 1.25, share_of(self._identity))
            state.look, state.failures, state.thread = replace(found, number=self._number), failures, None
        if self._wake is not None:
            self._wake()

    def _looked(self, rollout: Rollout, number: int, releases: frozenset[str]) -> Look:
        assert self._reader is not None
        known, by_name = self._reader.names(), self._reader.rings(rollout)
        members = {name for name, at in by_name.items() if at == number}
        undecided = {name for name, at in by_name.items() if at == 0}
        drawn = (*self._drawn(members, MOST_READ), *self._drawn(undecided, MOST_UNDECIDED))
        others = (members | undecided).difference(drawn)
        most = rollout.rings[number - 1].failure_limit + MOST_READ  # more than the limit, though some marks are false
        marked = self._reader.refusing(releases, others) if others else ()
        # guard: who refuses is read, drawn or not
        refusing = self._drawn(marked, most)
        found = self._reader.read((*drawn, *refusing))
        rings = partial(rings_of, rollout, names=known)
        look = _sorted_out(number, rings, drawn, refusing, found, members)
        return replace(look, unread=len(marked) - len(refusing), asked=releases)

    def _drawn(self, names: Collection[str], most: int) -> tuple[str, ...]:
        """All, or those that the hash of this machine's name and theirs puts first."""
        if len(names) <= most:
            return tuple(sorted(names))
        return tuple(
            sorted(names, key=lambda name: hashlib.sha256(f"{self._identity}\n{name}".encode()).digest())[:most]
        )


def _sorted_out(
    number: int,
    rings: Callable[[Mapping[str, Mapping[str, str]]], Mapping[str, int]],
    drawn: tuple[str, ...],
    refusing: tuple[str, ...],
    found: Iterable[JudgedReport],
    expected: Collection[str],
) -> Look:
    """Reports of machines of ring `number` that count, and what does not count; `rings` finds the ring of each by its
    labels. A machine that is drawn and `expected`, and whose report does not count or is not there, has shown nothing;
    one of `refusing` counts for its refusal alone."""
    asked = {*drawn, *refusing}
    read: dict[str, MachineReport] = {}
    doubted: list[str] = []
    for one in found:
        is_verified = one.standing == VERIFIED  # guard: only a verified report counts
        if is_verified and one.report is not None and one.report.machine in asked:
            read[one.report.machine] = one.report
        else:
            doubted.append(f"{one.entry} ({one.standing}{f': {one.why}' if one.why else ''})")
    places = rings({name: report.labels for name, report in read.items()})
    here = {name: report for name, report in read.items() if places[name] == number}
    elsewhere = read.keys() - here.keys()
    names = tuple(sorted(name for name in drawn if name in here or (name in expected and name not in elsewhere)))
    also = tuple(sorted(here.keys() & set(refusing)))
    members = max(len(expected) - len(elsewhere & set(expected)), len(names))
    return Look(names=names, also=also, reports=tuple(here.values()), members=members, doubted=tuple(sorted(doubted)))
