"""Work that must never hold up a pass: a thread of its own that steps, and rests until it is woken or its time
has come."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from reconciler.engine import log

FIRST, LONGEST = 1.0, 300.0  # seconds between tries
AFTER_A_BUG = 300.0


class Background:
    """`step` gives the seconds until it wants to step again, None for: when something is new."""

    def __init__(self, name: str, step: Callable[[], float | None]) -> None:
        self._step = step
        self._news = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._news.set()

    def close(self, patience: float = 1.0) -> bool:
        """What is on the wire is left behind after a moment; it is told again after the next start. Whether the thread
        has ended."""
        self._ended = True
        self._news.set()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._ended:
            self._news.clear()
            try:
                rest = self._step()
            except Exception as error:  # noqa: BLE001 - a bug here must not silence it for ever
                log.bug("background.bug", error, thread=self._thread.name)
                rest = AFTER_A_BUG
            if not self._ended:
                self._news.wait(rest)


def retry_after(failures: int) -> float:
    """Seconds before the next try: doubling, with jitter, so that a fleet does not come back all at once."""
    return float(min(FIRST * 2 ** min(failures - 1, 20), LONGEST) * random.uniform(0.5, 1.0))
