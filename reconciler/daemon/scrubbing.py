"""Runs the scrub (engine.scrub: reads every byte within a day, to find rot) in a thread beside the daemon's passes."""

import contextlib
from collections.abc import Iterator
from functools import partial

from reconciler.daemon import wake as reasons
from reconciler.daemon.background import Background
from reconciler.daemon.wake import Wake
from reconciler.engine.machine import Machine
from reconciler.engine.scrub import Scrubber
from reconciler.state import scrub_progress


@contextlib.contextmanager
def scrubbing(machine: Machine, wake: Wake, period: float) -> Iterator[None]:
    """A thread that hangs on a dying disk is left behind; it writes nothing but where it stands."""
    scrub_progress.sweep(machine.layout)
    scrub = Scrubber(machine, partial(wake.wake, reasons.SCRUB), period)
    background = Background("scrub", scrub.step)
    try:
        yield
    finally:
        if background.close():
            scrub.close()
