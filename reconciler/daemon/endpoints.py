"""What connects the daemon to others: the HTTP server that they may ask, and the sinks that it notifies.

Both are opened before the first pass, hear of each pass through the board, and are closed at the end.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.daemon.http.listening import Address
from reconciler.daemon.http.routes import RouteContext, Routes
from reconciler.daemon.http.server import CannotListen, HttpServer
from reconciler.daemon.metrics.counters import Counters
from reconciler.daemon.notifications.notifications import Notifications
from reconciler.daemon.notifications.sink import SinkContext, Target
from reconciler.daemon.sd_notify import Watchdog
from reconciler.daemon.state import Board
from reconciler.daemon.wake import Wake
from reconciler.engine import log
from reconciler.engine.machine import Machine, machine_name


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """`address` is None for no HTTP server. When the default address is taken the daemon runs without one; an address
    that was chosen must be free."""

    address: Address | None = None
    address_was_chosen: bool = False
    webhook_secret_file: str = ""
    targets: tuple[Target, ...] = ()


@contextlib.contextmanager
def opened(
    endpoints: Endpoints, machine: Machine, *, board: Board, wake: Wake, watchdog: Watchdog, counters: Counters
) -> Iterator[None]:
    """Raises CannotListen."""
    board.listen(lambda state: counters.passed(state.last_pass_seconds))
    context = RouteContext(
        board=board,
        counters=counters,
        wake=wake,
        layout=machine.layout,
        patience=lambda: watchdog.patience,
        secret_file=endpoints.webhook_secret_file,
    )
    with contextlib.ExitStack() as stack:
        _listen(endpoints, context, stack)
        if endpoints.targets:
            _notify(endpoints.targets, machine, board, stack)
        yield


def _notify(targets: tuple[Target, ...], machine: Machine, board: Board, stack: contextlib.ExitStack) -> None:
    context = SinkContext(machine=machine_name(machine), events=machine.records.event_log, layout=machine.layout)
    notifications = stack.enter_context(contextlib.closing(Notifications(targets, context, machine.records)))
    board.listen(notifications.passed)


def _listen(endpoints: Endpoints, context: RouteContext, stack: contextlib.ExitStack) -> None:
    address = endpoints.address
    if address is None:
        return
    try:
        server = stack.enter_context(contextlib.closing(HttpServer(address, Routes(context))))
    except CannotListen as error:
        if endpoints.address_was_chosen:
            raise
        log.warning("listen.failed", address=str(address), message=str(error), hint=error.hint)
    else:
        log.info("listening", address=str(address), port=server.port, hooks=bool(context.secret_file))
