"""One job in a new interpreter, where a fork is not there (Windows) or not safe (macOS: `host.system.FORKS`).

It runs the worker's own module with the argument JOB, loads the tools itself, and therefore begins ten seconds later
than a fork. It reads its order from standard input, whose end means that the worker is gone; it answers on standard
output and prints to standard error. For the rest it is as `running` describes.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, NoReturn

from reconciler.conversion.order import ORDER, Order
from reconciler.host import system

JOB = "job"
LAST_WORDS = 1.0  # seconds for what an ended job has written to be read
HELD = 8 << 20  # bytes of a stream that are kept between two looks; what comes beyond is dropped


class Spawned:
    """The process of a job, as `running.Running` uses it."""

    def __init__(self, order: Order, module: str) -> None:
        python, needed = system.interpreter()
        self._process = subprocess.Popen(
            [python, "-P", "-m", module, JOB],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **needed},
        )
        self.pid = self._process.pid
        assert self._process.stdin is not None
        self._printed, self._answered = _Pump(self._process.stderr), _Pump(self._process.stdout)
        with suppress(OSError):  # it has ended already: `poll` says how
            self._process.stdin.write(json.dumps(ORDER.write(order)).encode() + b"\n")
            self._process.stdin.flush()

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is not None:
            self._printed.join(LAST_WORDS)
            self._answered.join(LAST_WORDS)
        return code

    def drain(self, take_output: Callable[[bytes], None], take_answer: Callable[[bytes], None]) -> None:
        take_output(self._printed.taken())
        take_answer(self._answered.taken())

    def wait(self) -> None:
        self._process.wait()
        self._printed.join(LAST_WORDS)

    def close(self) -> None:
        for pump in (self._printed, self._answered):
            pump.close()
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()


class _Pump(threading.Thread):
    """Reads a stream, so that its writer never waits."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        super().__init__(daemon=True)
        assert pipe is not None
        self._pipe, self._held, self._lock = pipe, bytearray(), threading.Lock()
        self.start()

    def run(self) -> None:
        while data := self._pipe.read1(1 << 16):  # type: ignore[attr-defined]
            with self._lock:
                self._held += data[: max(0, HELD - len(self._held))]

    def close(self) -> None:
        if not self.is_alive():  # else what the job started still writes there
            self._pipe.close()

    def taken(self) -> bytes:
        with self._lock:
            data = bytes(self._held)
            self._held.clear()
        return data


def module_of_this_process() -> str:
    """What it was started with: `python -m MODULE`."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None
    return spec.name


def be_the_job(answer_to: Callable[[Order], dict[str, Any]]) -> NoReturn:
    """Read the order, answer it, end. `answer_to` raises nothing."""
    order = ORDER.read(json.loads(sys.stdin.buffer.readline()))
    answers = os.dup(1)
    os.dup2(2, 1)  # what native code prints is no answer
    threading.Thread(target=_die_with_the_worker, daemon=True).start()
    answer = answer_to(order)
    with os.fdopen(answers, "wb") as pipe:
        pipe.write(json.dumps(answer).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _die_with_the_worker() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
