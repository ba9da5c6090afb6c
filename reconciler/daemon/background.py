"""Work that must never hold up a pass: a thread that calls its step, and sleeps until it is woken or its time comes."""

import random
import threading
from collections.abc import Callable

from reconciler.domain.backoff import DELIVERY, spread
from reconciler.engine import log

AFTER_A_BUG = 300.0


class Background:
    """`step` returns the seconds until its next call, or None: only when it is woken."""

    def __init__(self, name: str, step: Callable[[], float | None]) -> None:
        self._step = step
        self._news = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._news.set()

    def close(self, patience: float = 1.0) -> bool:
        """Waits `patience` seconds for a step that runs; a delivery that was cut off is repeated after the next start.
        Returns whether the thread has ended."""
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
    """Seconds before the next delivery, spread so that a fleet does not come back all at once."""
    return spread(DELIVERY.after(failures), 0.5, 1.0, random.random())
