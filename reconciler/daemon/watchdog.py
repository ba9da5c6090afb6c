"""Watchdog: whether the daemon's loop still lives, for /healthz, for the metrics and for the service manager."""

import threading
import time

from reconciler.daemon.sd_notify import Service

# Seconds. A pass in which no step begins, ends or makes progress for so long hangs. Hashing 100 GB takes less.
PATIENCE = 900.0


class Watchdog:
    """Sends the manager's keep-alive at half of its time, from a thread of its own, because a pass may be long. It
    stops when the loop has shown no sign of life for as long as it announced."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._until = time.monotonic() + PATIENCE
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self._service.watchdog:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def alive(self, seconds: float = 0.0) -> None:
        """The loop lives, and may be silent for `seconds` and PATIENCE from now."""
        self._until = time.monotonic() + seconds + PATIENCE

    @property
    def patience(self) -> float:
        """Seconds for which the loop may still be silent; from then on it counts as hanging."""
        return self._until - time.monotonic()

    def _beat(self) -> None:
        while not self._ended.wait(self._service.watchdog / 2):
            if self.patience > 0.0:
                self._service.send("WATCHDOG=1")
