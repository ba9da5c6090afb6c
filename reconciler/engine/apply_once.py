"""A pass for somebody who waits: passes, until no long work is left. It knows nothing of what woke it, and the same
pass twice changes nothing the second time."""

import threading
from dataclasses import replace

from reconciler.engine.machine import Machine
from reconciler.engine.options import Options, PassResult
from reconciler.engine.reconciler import Reconciler
from reconciler.engine.report import Reporter
from reconciler.manifests.parse import Parsed

__all__ = ["Options", "PassResult", "run_pass"]


def run_pass(machine: Machine, parsed: Parsed, reporter: Reporter, options: Options) -> PassResult:
    """Bring the machine to what `parsed` declares, as far as it can be. The caller holds the lock."""
    woken = threading.Event()
    with Reconciler(machine, reporter, options, wake=woken.set, asked=True) as keeping:
        result = keeping.run_pass(parsed)
        while result.running:
            _wait(woken)
            result = _joined(result, keeping.run_pass(parsed))
    return result


def _wait(woken: threading.Event) -> None:
    while not woken.wait(1.0):  # in pieces: on Windows Ctrl-C does not end a wait
        pass
    woken.clear()


def _joined(before: PassResult, after: PassResult) -> PassResult:
    return replace(after, plan=before.plan, outcomes=(*before.outcomes, *after.outcomes))
