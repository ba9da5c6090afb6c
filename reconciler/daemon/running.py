"""The daemon, put together: what wakes the loop, what it makes passes with, the HTTP server that others may ask, the
sinks that it notifies, and how it ends."""

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from reconciler.daemon import wake as reasons
from reconciler.daemon.background import Background
from reconciler.daemon.declarations import Declarations
from reconciler.daemon.http.listening import Address
from reconciler.daemon.http.page_routes import PageRoutes
from reconciler.daemon.http.page_source import PageSource
from reconciler.daemon.http.routes import Routes
from reconciler.daemon.http.server import CannotListen, HttpServer
from reconciler.daemon.loop import Loop
from reconciler.daemon.notifications.notifications import Notifications
from reconciler.daemon.notifications.sink import SinkContext, SinkTarget
from reconciler.daemon.pass_log import StepLog
from reconciler.daemon.report_sender import DAILY, ReportSender
from reconciler.daemon.sd_notify import Service
from reconciler.daemon.state import Board, Moment, State
from reconciler.daemon.wake import Wake
from reconciler.daemon.watchdog import Watchdog
from reconciler.daemon.watching import Watcher
from reconciler.engine import log
from reconciler.engine.machine import Machine, identity_of, machine_name
from reconciler.engine.options import Options
from reconciler.engine.reconciler import Reconciler
from reconciler.engine.scrub import Scrubber
from reconciler.engine.timetable import Turns
from reconciler.host import system
from reconciler.operations.report import Reporting
from reconciler.state import progress

LAST_MOMENT = 9.0  # seconds from the first signal to the end, whatever still goes on: managers wait at least ten
# An unchanged pass makes and drops 50,000 values and hardly a cycle: looking for those costs an eighth of its time.
RARELY = (100_000, 20, 20)
KILLED_BY = 128  # and the number of the signal, as a shell says it


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """`address` is None for no HTTP server. When the default address is taken the daemon runs without one; an address
    that was chosen must be free."""

    address: Address | None = None
    address_was_chosen: bool = False
    webhook_secret_file: str = ""
    targets: tuple[SinkTarget, ...] = ()
    reporting: Reporting | None = None


def run_daemon(
    machine: Machine,
    declarations: Declarations,
    options: Options,
    *,
    interval: float,
    endpoints: Endpoints,
    scrub_period: float = 0.0,
) -> int:
    """Until a signal ends it. The caller holds the root's lock. A `scrub_period` of 0 is none. Returns the exit code.
    Raises CannotListen."""
    wake, service = Wake(), Service()
    board = Board(_state(machine, interval))
    log.info("started", pid=os.getpid(), root=machine.layout.root, origin=declarations.origin)
    progress.sweep(machine.layout)
    with contextlib.ExitStack() as stack:
        watchdog = stack.enter_context(Watchdog(service))
        watcher = stack.enter_context(contextlib.closing(Watcher(wake)))

        def alive() -> None:
            watchdog.alive()
            service.ready()  # whatever a pass takes: its first look is over

        work_ended = partial(wake.wake, reasons.WORK_ENDED)
        identity = identity_of(machine.traits, machine.owner)
        turns = Turns(identity, interval=interval, splay=machine.traits.bandwidth.splay)
        reporter = StepLog(alive, board)
        reconciler = stack.enter_context(Reconciler(machine, reporter, options, wake=work_ended, turns=turns))
        if scrub_period:
            stack.enter_context(_scrubbing(machine, wake, scrub_period))
        page = _page(endpoints.address, board, machine, declarations)
        secret = endpoints.webhook_secret_file
        routes = Routes(board, wake, machine.layout, lambda: watchdog.patience, secret, page)
        _listen(endpoints, routes, stack)
        if endpoints.targets:
            _notify(endpoints.targets, machine, board, stack)
        if endpoints.reporting is not None:
            _report(endpoints.reporting, machine, identity, board, stack)
        loop = Loop(
            machine=machine,
            declarations=declarations,
            reconciler=reconciler,
            wake=wake,
            board=board,
            watcher=watcher,
            service=service,
            watchdog=watchdog,
            first_pause=turns.before_asking,
        )
        gc.set_threshold(*RARELY)
        stack.enter_context(_signals(loop, wake, service))
        loop.run()
        log.info("stopping")
    log.info("stopped")
    return _exit_code(loop)


def _state(machine: Machine, interval: float) -> State:
    """As the last daemon left it."""
    known = machine.records.load()
    attempted, applied = known.last_attempted_revision, known.last_applied_revision
    return State(started=Moment.now(), interval=interval, attempted=attempted, applied=applied)


@contextlib.contextmanager
def _scrubbing(machine: Machine, wake: Wake, period: float) -> Iterator[None]:
    """The scrub in a thread beside the passes. One that hangs on a dying disk is left behind; it writes nothing but
    its position."""
    scrub = Scrubber(machine, partial(wake.wake, reasons.SCRUB), period)
    background = Background("scrub", scrub.step)
    try:
        yield
    finally:
        if background.close():
            scrub.close()


def _page(address: Address | None, board: Board, machine: Machine, declarations: Declarations) -> PageRoutes | None:
    """For a browser on this machine: it names files and shows manifests, so no other machine is served it."""
    if address is None or not address.is_local:  # guard: the page is for this machine only
        return None
    quota = machine.traits.limits.disk_quota
    return PageRoutes(PageSource(board, machine.layout, machine_name(machine), quota, declarations.standing))


def _listen(endpoints: Endpoints, routes: Routes, stack: contextlib.ExitStack) -> None:
    address = endpoints.address
    if address is None:
        return
    try:
        server = stack.enter_context(contextlib.closing(HttpServer(address, routes)))
    except CannotListen as error:
        if endpoints.address_was_chosen:
            raise
        log.warning("listen.failed", address=str(address), message=str(error), hint=error.hint)
    else:
        log.info("listening", address=str(address), port=server.port, hooks=bool(endpoints.webhook_secret_file))
        if address.is_local and not address.path:
            log.info("page", url=f"http://{address.host}:{server.port}/")


def _notify(targets: tuple[SinkTarget, ...], machine: Machine, board: Board, stack: contextlib.ExitStack) -> None:
    context = SinkContext(machine=machine_name(machine), events=machine.records.event_log, layout=machine.layout)
    notifications = stack.enter_context(contextlib.closing(Notifications(targets, context, machine.records)))
    board.listen(notifications.passed)


def _report(reporting: Reporting, machine: Machine, identity: str, board: Board, stack: contextlib.ExitStack) -> None:
    settings = machine.traits.reports
    every = settings.every if settings is not None else DAILY
    sender = ReportSender(reporting, identity, splay=machine.traits.bandwidth.splay, every=every)
    thread = stack.enter_context(contextlib.closing(Background("reports", sender.step)))

    def passed(state: State) -> None:
        if sender.passed(state):
            thread.wake()

    board.listen(passed)


@contextlib.contextmanager
def _signals(loop: Loop, wake: Wake, service: Service) -> Iterator[None]:
    """SIGTERM and SIGINT (on Windows Ctrl-C, Ctrl-Break, a closed window and a shutdown) end the daemon gently, the
    second one at once; SIGHUP asks for a pass. The kernel ends our children with us."""

    def end(number: int, frame: object) -> None:
        if loop.ended_by:
            os._exit(KILLED_BY + number)
        loop.ended_by = number
        service.stopping()
        last = threading.Timer(LAST_MOMENT, _give_up, (loop,))
        last.daemon = True
        last.start()
        loop.stop()

    for number in system.ENDING:
        signal.signal(number, end)
    system.hear_shutdown(LAST_MOMENT)
    if system.WAKING is not None:
        signal.signal(system.WAKING, lambda number, frame: wake.wake(reasons.SIGHUP))
    try:
        yield
    finally:
        # After the loop a signal has nothing gentle left to do; a late SIGHUP must not kill us.
        if system.WAKING is not None:
            signal.signal(system.WAKING, signal.SIG_IGN)


def _give_up(loop: Loop) -> None:
    sys.stderr.write("reconciler: what runs did not end in time; it is ended now, and the next pass cleans up\n")
    sys.stderr.flush()
    os._exit(_exit_code(loop))


def _exit_code(loop: Loop) -> int:
    return 0 if loop.ended_by in system.STOPPING else KILLED_BY + loop.ended_by
