"""The child's half of `host.child`: read requests, run handlers, write replies.

A worker module imports this, defines its handlers and ends with `serve({...})`. Heavy packages belong inside
the handlers: `serve` first moves the reply pipe off descriptor 1, because native code prints there, and takes
requests off descriptor 0, because libraries ask questions there. One JSON document a line in both directions;
at the end of the requests the child ends. A child whose parent is gone must not go on working: it would hold
the disk and the processor while the lock looks free.
"""

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Protocol

from reconciler.domain.errors import ReconcilerError
from reconciler.host import system

Json = dict[str, Any]


class Emit(Protocol):
    """Sends an event to the parent."""

    def __call__(self, event: Json) -> None: ...

    def and_wait(self, event: Json) -> None:
        """Returns when the parent has done with it. On the main thread only."""


Handler = Callable[[Json, Emit], Json]

LINE_LIMIT = 16 << 20  # bytes; the parent kills a child that writes a longer line
MESSAGE_LIMIT = 16 << 10  # characters of an error message
PARENT_VARIABLE = "RECONCILER_PARENT"

PR_SET_PDEATHSIG = 1


def serve(handlers: Mapping[str, Handler]) -> None:
    """Answer requests until there are no more. Handlers run one at a time, on the main thread."""
    _die_with_parent()
    requests, replies = _take_pipes()
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_read, args=(requests, waiting, busy), daemon=True).start()
    writer = _Writer(replies, waiting)
    while line := waiting.get():
        reply = _answer(handlers, json.loads(line), writer)
        busy.clear()  # before the reply: the next request may follow it at once
        writer.write(reply)


class _Writer:
    """Whole lines only, also when a handler emits from several threads."""

    def __init__(self, pipe: BinaryIO, answers: queue.SimpleQueue[bytes]) -> None:
        self._pipe, self._answers = pipe, answers
        self._lock = threading.Lock()

    def __call__(self, event: Json) -> None:
        self.write(_encode({"event": event}))

    def and_wait(self, event: Json) -> None:
        self.write(_encode({"event": event, "waits": True}))
        self._answers.get()  # the parent calls nothing while a call is under way: it can only be this answer

    def write(self, line: bytes) -> None:
        with self._lock:
            self._pipe.write(line)
            self._pipe.flush()


def _answer(handlers: Mapping[str, Handler], request: Json, writer: _Writer) -> bytes:
    try:
        return _encode({"result": handlers[request["method"]](request["parameters"], writer)})
    # Whatever it is, the caller gets it. Libraries call sys.exit() where they should raise.
    except (Exception, SystemExit) as failure:  # noqa: BLE001
        traceback.print_exc()
        kind = failure.code if isinstance(failure, ReconcilerError) else type(failure).__name__
        return _encode({"error": {"kind": kind, "message": str(failure)[:MESSAGE_LIMIT]}})


def _encode(reply: Json) -> bytes:
    line = json.dumps(reply, allow_nan=False).encode() + b"\n"
    if len(line) > LINE_LIMIT:
        raise ValueError(f"a reply of {len(line)} bytes is longer than {LINE_LIMIT}")
    return line


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    requests, replies = os.dup(0), os.dup(1)  # dup() makes them private: no grandchild inherits them
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb"), os.fdopen(replies, "wb")


def _read(requests: BinaryIO, waiting: queue.SimpleQueue[bytes], busy: threading.Event) -> None:
    """Also while a handler runs: the end of the requests then means that its reply is not awaited."""
    for line in requests:
        busy.set()
        waiting.put(line)
    if busy.is_set():
        _end_now()
    waiting.put(b"")


def _end_now() -> None:
    system.kill_own_group()  # what the handler started ends with it
    os._exit(1)


def _die_with_parent() -> None:
    """Linux kills us when the thread that started us ends, even while native code holds the interpreter lock.
    Limits: it does not reach grandchildren; elsewhere the end of the requests has to do."""
    parent = os.environ.pop(PARENT_VARIABLE, "")
    if not parent or not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the call: the signal will not come
        os._exit(1)
