"""A worker that does what workers do wrong. Run as a module by test_child."""

import ctypes
import os
import subprocess
import sys
import time
from typing import Any

from reconciler.domain.errors import DiskFull
from reconciler.host.child_side import Emit, serve

Json = dict[str, Any]
ON_WINDOWS = sys.platform == "win32"
C_LIBRARY = "ucrtbase" if ON_WINDOWS else None


def echo(parameters: Json, emit: Emit) -> Json:
    for number in range(parameters.get("events", 0)):
        emit({"number": number})
    return parameters


def surroundings(parameters: Json, emit: Emit) -> Json:
    group = os.getpid() if ON_WINDOWS else os.getpgrp()
    return {"environment": dict(os.environ), "directory": os.getcwd(), "group": group, "path": sys.path}


def chatter(parameters: Json, emit: Emit) -> Json:
    print("from print")
    os.write(1, b"from the descriptor\n")
    ctypes.CDLL(C_LIBRARY).puts(b"from native code")
    os.system("echo from a grandchild")
    return {"asked": sys.stdin.read()}


def fail(parameters: Json, emit: Emit) -> Json:
    raise {"ours": DiskFull("no room"), "theirs": KeyError("missing"), "exit": SystemExit("gone")}[parameters["how"]]


def unspeakable(parameters: Json, emit: Emit) -> Json:
    return {"value": object()}


def long_reply(parameters: Json, emit: Emit) -> Json:
    return {"text": "x" * parameters["length"]}


def abort(parameters: Json, emit: Emit) -> Json:
    os.write(2, b"the last words\n")
    os.abort()


def leave(parameters: Json, emit: Emit) -> Json:
    os._exit(7)


def hang(parameters: Json, emit: Emit) -> Json:
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    emit({"grandchild": grandchild.pid})
    time.sleep(600)
    return {}


def hold_the_interpreter(parameters: Json, emit: Emit) -> Json:
    """Native code that never lets another thread run: the end of the requests goes unseen."""
    emit({"pid": os.getpid()})
    if ON_WINDOWS:
        ctypes.PyDLL("kernel32").Sleep(600_000)
    else:
        ctypes.PyDLL(None).sleep(600)
    return {}


def leave_grandchild(parameters: Json, emit: Emit) -> Json:
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return {"grandchild": grandchild.pid}


if __name__ == "__main__":
    names = (
        *(echo, surroundings, chatter, fail, unspeakable, long_reply, abort, leave, hang),
        *(hold_the_interpreter, leave_grandchild),
    )
    serve({handler.__name__: handler for handler in names})
