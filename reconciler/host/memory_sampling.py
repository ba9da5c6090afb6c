"""The memory of another process over time, sampled from outside: the process itself may be busy loading a model."""

import threading
import time
from collections.abc import Callable
from types import TracebackType

import psutil

from reconciler.domain.measured import MemorySample

INTERVAL = 0.02  # seconds
MOST = 2000  # samples kept: when there are more, every second one goes and the interval is doubled


class Sampler:
    """A context manager. `process` gives the id of the process to sample, 0 while there is none."""

    def __init__(self, process: Callable[[], int]) -> None:
        self._process = process
        self._samples: list[MemorySample] = []
        self._interval = INTERVAL
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="sampler", daemon=True)

    @property
    def samples(self) -> tuple[MemorySample, ...]:
        return tuple(self._samples)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(self._interval):
            held = resident(self._process())
            if held:
                self._samples.append(MemorySample(seconds=self.elapsed, bytes=held))
            if len(self._samples) > MOST:
                self._samples, self._interval = self._samples[::2], self._interval * 2


def resident(process: int) -> int:
    """Bytes that it holds in memory; 0 when it is gone or may not be looked at."""
    try:
        return int(psutil.Process(process).memory_info().rss) if process else 0
    except psutil.Error:
        return 0
