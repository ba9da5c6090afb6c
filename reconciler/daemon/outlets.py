"""The daemon and everybody outside: opens the face, starts those who tell, and closes both at the end. What nobody
asked for is not even imported."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reconciler.daemon.http.listening import Address
from reconciler.daemon.http.routes import Answers, Known
from reconciler.daemon.http.server import CannotListen, Face
from reconciler.daemon.metrics.counters import Figures
from reconciler.daemon.notifications.configuration import CommitStatus, Sink
from reconciler.daemon.notifications.setup import Listeners, Outward
from reconciler.daemon.service import Pulse
from reconciler.daemon.state import Board, State
from reconciler.daemon.wake import Wake
from reconciler.engine import log
from reconciler.engine.machine import Machine, machine_name


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Who may ask (`address` None: nobody), whose hooks wake us, who is told. A default address that is taken is done
    without; one that somebody chose is not."""

    address: Address | None = None
    address_was_chosen: bool = False
    webhook_secret_file: str = ""
    sinks: tuple[Sink, ...] = ()
    statuses: tuple[CommitStatus, ...] = ()


@contextlib.contextmanager
def opened(outside: Outside, machine: Machine, *, board: Board, wake: Wake, pulse: Pulse) -> Iterator[None]:
    """They hear of each pass through the board. Raises CannotListen."""
    with contextlib.ExitStack() as stack:
        if outside.address is not None:
            board.listen(_face(outside, outside.address, machine, stack, board=board, wake=wake, pulse=pulse))
        if outside.sinks or outside.statuses:
            board.listen(_outward(outside, machine, stack))
        yield


def _outward(outside: Outside, machine: Machine, stack: contextlib.ExitStack) -> Callable[[State], None]:
    name = machine_name(machine)
    listeners = Listeners(machine=name, sinks=outside.sinks, statuses=outside.statuses)
    outward = Outward(listeners, machine.layout, machine.records)
    stack.callback(outward.close)
    return outward.passed


def _face(
    outside: Outside,
    address: Address,
    machine: Machine,
    stack: contextlib.ExitStack,
    *,
    board: Board,
    wake: Wake,
    pulse: Pulse,
) -> Callable[[State], None]:
    figures = Figures(machine.records.event_log)
    known = Known(
        board=board,
        figures=figures,
        wake=wake,
        layout=machine.layout,
        patience=lambda: pulse.patience,
        secret_file=outside.webhook_secret_file,
    )
    _listen(address, known, stack, must=outside.address_was_chosen)
    return lambda state: figures.passed(state.last_pass_seconds)


def _listen(address: Address, known: Known, stack: contextlib.ExitStack, *, must: bool) -> None:
    try:
        face = Face(address, Answers(known))
    except CannotListen as error:
        if must:
            raise
        log.warning("listen.failed", address=str(address), message=str(error), hint=error.hint)
    else:
        stack.callback(face.close)
        log.info("listening", address=str(address), port=face.port, hooks=bool(known.secret_file))
