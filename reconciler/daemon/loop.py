"""The loop: one thread that makes passes, and sleeps between them. Everything else only wakes it.

    read what is declared -> a pass -> update the board -> sleep until something wants another one

A pass that cannot be carried out never ends the loop: it is logged, counted, and tried again after longer and longer
waits.
"""

import os
import time
from collections.abc import Set
from dataclasses import dataclass

from reconciler.daemon import wake as reasons
from reconciler.daemon.declarations import Declarations
from reconciler.daemon.pass_log import Summaries
from reconciler.daemon.sd_notify import Service
from reconciler.daemon.state import Board, Moment, counted
from reconciler.daemon.wake import FILES, Wake, WakeThrottle, jittered, seconds_until
from reconciler.daemon.watchdog import Watchdog
from reconciler.daemon.watching import Watcher
from reconciler.domain.backoff import of_passes
from reconciler.domain.errors import ReconcilerError
from reconciler.engine import log
from reconciler.engine.log import best_effort
from reconciler.engine.machine import Machine
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import Reconciler
from reconciler.host import durable
from reconciler.manifests.parsed import Parsed

ASKED = frozenset({reasons.SIGHUP, reasons.WEBHOOK})


@dataclass(kw_only=True)
class Loop:
    """The caller holds the root's lock, closes `reconciler`, and calls `stop` from a signal handler of this thread."""

    machine: Machine
    declarations: Declarations
    reconciler: Reconciler
    wake: Wake
    board: Board
    watcher: Watcher
    service: Service
    watchdog: Watchdog
    first_pause: float  # seconds between the first pass and the second
    ended_by: int = 0  # the signal

    def __post_init__(self) -> None:
        self._interval = self.board.state.interval
        self._backoff = of_passes(self._interval)
        self._throttle = WakeThrottle(self._interval)
        self._summaries = Summaries()
        self._parsed: Parsed | None = None
        self._asked_at = 0.0  # by the monotonic clock: when the declarations were read last
        self._failures = 0
        self._next_try = ""  # when a back-off of something that failed ends
        self._stopping = False
        self._passing = False

    def run(self) -> None:
        """Until `stop`."""
        woken: Set[str] = {reasons.START}
        self._watch()
        try:
            while not self._stopping:
                self._pass(woken)
                woken = self._sleep()
        except KeyboardInterrupt:  # `stop` in the middle of a pass: what was finished is recorded
            if not self._stopping:
                raise

    def stop(self) -> None:
        """End soon: a pass is interrupted as Ctrl-C interrupts `apply`."""
        interrupting = self._passing and not self._stopping
        self._stopping = True
        self.wake.wake(reasons.STOP)
        if interrupting:
            raise KeyboardInterrupt

    def _pass(self, woken: Set[str]) -> None:
        self.watchdog.alive()
        self.board.update(wakes=counted(self.board.state.wakes, *woken))
        if reasons.SIGHUP in woken:
            self.service.reloading()
        started = time.monotonic()
        with log.bound(pass_id=os.urandom(4).hex()):
            self._passing = True
            try:
                self._once(woken, started)
                self._failures = 0
            except Exception as error:  # noqa: BLE001 - the daemon outlives our bugs; the log gets the traceback
                self._failed(log.known_error("pass.bug", error), woken)
            finally:
                self._passing = False
        self._ended(started)

    def _once(self, woken: Set[str], started: float) -> None:
        self._asked_at = time.monotonic()
        parsed = self._parsed = self.declarations.read(self.machine, asked=bool(woken & ASKED))
        self.watchdog.alive()
        with log.bound(revision=parsed.revision):
            self.board.update(attempted=parsed.revision)
            result = self.reconciler.run_pass(parsed)
            self._summaries.problems(result.resolution.problems, result.resolution.warnings)
            self._summaries.held(result.remaining.held)
            self._summaries.passed(result, woken, time.monotonic() - started)
        if not result.converged:
            self.declarations.doubt()
        self._next_try = result.next_wake or ""
        if result.released:
            self.wake.wake(reasons.RELEASED)
        self._update_board(result)

    def _update_board(self, result: PassResult) -> None:
        outcome = "converged" if result.converged else "partly"
        changes: dict[str, object] = {
            "passes": counted(self.board.state.passes, outcome),
            "last_result": outcome,
            "last_error": "",
            "conditions": self.machine.records.conditions(),
            "problems": len(result.resolution.problems),
            "verdicts": result.remaining.verdicts,
            "seen": result,
            "declared": self._parsed,
        }
        if result.converged:
            changes["applied"] = result.remaining.revision
        if result.outcomes or not self.board.state.ready:
            releases = self.machine.records.load().releases
            changes["sizes"] = {name: release.size for name, release in releases.items()}
        self.board.update(**changes)

    def _failed(self, error: ReconcilerError, woken: Set[str]) -> None:
        self._failures += 1
        self._next_try = ""
        self.declarations.doubt()
        self._summaries.failed()
        facts = {"code": error.code, "message": str(error), "hint": error.hint}
        log.warning("pass.failed", **facts, woken=sorted(woken), failures=self._failures)
        passes = counted(self.board.state.passes, "failed")
        self.board.update(passes=passes, last_result="failed", last_error=f"{error.code}: {error}")

    def _ended(self, started: float) -> None:
        answered = self.declarations.answered
        self.board.pass_took(time.monotonic() - started)
        self.board.update(
            last_pass=Moment.now(),
            running=self.reconciler.running(),
            last_fetch=answered,
            downloaded=self.machine.traffic.origins,
            download_budget=self.machine.traffic.budget,
            stale=self._is_stale(answered),
        )
        self._watch()
        if not self.board.state.ready:
            self.board.update(ready=True)
            log.info("ready")
        self.service.ready()
        self.service.status(self._in_words())
        self.board.passed()

    def _is_stale(self, answered: Moment | None) -> bool:
        """When it was asked last, the repository had not answered for twice the interval; logged when that begins and
        when it ends. However long the pass took that followed an answer: that says nothing of the repository."""
        since = answered or self.board.state.started
        stale = not self.declarations.folder and self._asked_at - since.ticks > 2 * self._interval
        if stale and not self.board.state.stale:
            log.warning("stale", origin=self.declarations.origin, hint="what was accepted last goes on")
        elif self.board.state.stale and not stale:
            log.info("fresh", origin=self.declarations.origin)
        return stale

    def _in_words(self) -> str:
        state = self.board.state
        what = state.last_error or f"{state.last_result} at {state.applied or state.attempted}"
        stale = "stale: the repository does not answer; " if state.stale else ""
        running = f"; {len(state.running)} at work" if state.running else ""
        return f"{stale}{what}{running}"

    def _watch(self) -> None:
        for folder in (self.machine.layout.served, self.machine.layout.suspended):
            with best_effort("watch.refused"):
                durable.make_folder(folder)
        others = self.watcher.watch(self.machine, self._parsed, self.declarations.folder)
        if others and self.board.state.last_pass is not None:
            self.wake.wake(reasons.WATCHING)

    def _sleep(self) -> Set[str]:
        """Until something wants a pass. What only files want waits for its turn (WakeThrottle)."""
        ended, woken = time.monotonic(), set[str]()
        pause, why = self._pause()
        due, rested = ended + pause, pause
        while not self._stopping:
            only_files = bool(woken) and woken <= FILES
            until = min(due, ended + self._throttle.pause) if only_files else due
            left = until - time.monotonic()
            if left <= 0.0 or (woken and not only_files):
                break
            self.watchdog.alive(left)
            more = self.wake.wait(left)
            if more and not woken:
                rested = time.monotonic() - ended
            woken |= more
        woken = woken or {why}
        self._throttle.woken(woken, rested)
        return woken

    def _pause(self) -> tuple[float, str]:
        """Seconds to the next pass if nothing wants one, and the reason that it then has."""
        if self._failures:
            return jittered(self._backoff.after(self._failures)), reasons.RETRY
        first, self.first_pause = self.first_pause, 0.0
        pause = jittered(self._interval)
        if first and not self.declarations.folder:  # the repository is asked then: not by all machines at once
            pause = min(first, pause)
        until = seconds_until(self._next_try) if self._next_try else pause
        return (until, reasons.BACKOFF_ENDED) if until < pause else (pause, reasons.INTERVAL)
