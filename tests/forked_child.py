"""Workers of `host.child` as forks of a process that has imported what they need, in place of new interpreters. For
tests only, and with the same process group, streams, directory and environment as a new one; its parent is who asks
for it, or for a test process itself the server of `tests.forked`. What runs in a cage of bubblewrap is started the
usual way. A process with Olive forks nothing that has a limit of memory or another runtime: the other server does, for
any process below it that asks (`Asked`)."""

import contextlib
import math
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module, reload
from typing import IO, NoReturn, cast

from reconciler.conversion.client.converter import WORKER
from reconciler.conversion.worker import tools
from reconciler.host import child
from reconciler.host.child_side import PARENT_VARIABLE

Wrap = Callable[[list[str]], list[str]] | None
Asked = Callable[[str, Mapping[str, str], str, IO[bytes]], "subprocess.Popen[bytes]"]
HUB, FOUNDRY = "reconciler.sources.hub.worker", "reconciler.backends.foundry.worker"
OF_LIGHT = (FOUNDRY, "reconciler.templates.render_worker")  # asked of the server without Olive, beside Olive
LIGHT = (HUB, *OF_LIGHT)
LYING = ("tests.conversion.lying_worker", "tests.engine.waiting_worker")  # need no more than that
HEAVY = (WORKER, "tests.host.reading_worker", "tests.faults.lying_olive")  # of Olive and what it brings
_PACKAGES = ("huggingface_hub.hf_api", "huggingface_hub.file_download", "httpx2", "foundry_local_sdk")
_usual = child._start
_forks: tuple[str, ...] = ()  # modules whose packages are imported here
_asked: "dict[str, Asked]" = {}  # by module: who forks what needs other packages


def import_light() -> None:
    """All that but the converter needs. Without native threads, of which a fork would have none."""
    global _forks  # noqa: PLW0603
    for name in (*LIGHT, *_PACKAGES):
        with contextlib.suppress(ImportError):  # an extra that is not installed: the worker says so
            import_module(name)
    _forks = LIGHT
    child._start = start
    if backoff := sys.modules.get("huggingface_hub.utils._http"):  # as many attempts, without 23 s between them
        backoff.http_backoff.__kwdefaults__["base_wait_time"] = 0.01


def import_olive(asked: Asked) -> None:
    global _forks  # noqa: PLW0603
    tools.load("int4", "int8", "fp16", "fp32", "adapter")
    tools.load_architecture("qwen2")
    _forks = HEAVY
    _asked.update(dict.fromkeys(OF_LIGHT, asked))
    child._start = start


def ask_for_olive(asked: Asked) -> None:
    """For a process without it, from now on."""
    _asked.update(dict.fromkeys(HEAVY, asked))


def is_wrapped(module: str, wrap: Wrap) -> bool:
    """Whether it runs in bubblewrap, which starts it."""
    command = [sys.executable, "-P", "-m", module]
    return wrap is not None and wrap(command) != command


def fork_nothing() -> None:
    """For this process: its workers are new interpreters."""
    child._start = _usual


class Awaited(ABC):
    """What is asked of subprocess.Popen, for a fork: `poll` says how the end of one is learned."""

    returncode: int | None = None

    @abstractmethod
    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int:
        until = time.monotonic() + (math.inf if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(["fork"], timeout or 0.0)
            time.sleep(0.005)
        return code


class Forked(Awaited):
    """A child of this process, as `host.child` uses it."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self._waiting = threading.Lock()

    def poll(self) -> int | None:
        with self._waiting:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def start(
    module: str, environment: Mapping[str, str], log: IO[bytes], directory: str, wrap: Wrap
) -> subprocess.Popen[bytes]:
    if module in _asked and not is_wrapped(module, wrap):
        return _asked[module](module, {**child._import_path(), **environment}, directory, log)
    if module not in _forks or is_wrapped(module, wrap):
        return _usual(module, environment, log, directory, wrap)
    given = {**child._import_path(), **environment}
    its_in, our_in = os.pipe()
    our_out, its_out = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        become(module, given | {PARENT_VARIABLE: str(parent)}, directory, its_in, its_out, log.fileno())
    os.close(its_in)
    os.close(its_out)
    ours = Forked(pid, os.fdopen(our_in, "wb"), os.fdopen(our_out, "rb"))
    return cast("subprocess.Popen[bytes]", ours)


def become(module: str, environment: dict[str, str], directory: str, stdin: int, stdout: int, stderr: int) -> NoReturn:
    code, _kept = 1, (sys.stdout, sys.stderr)  # what they hold goes nowhere, and is not for the reader of replies
    try:
        os.setsid()
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for place, descriptor in enumerate((stdin, stdout, stderr)):
            os.dup2(descriptor, place)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, closefd=False, errors="backslashreplace")  # noqa: SIM115
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        if module == HUB and "huggingface_hub.constants" in sys.modules:  # it reads the environment once
            reload(sys.modules["huggingface_hub.constants"])
        sys.argv = [module]
        sys.modules.pop(module, None)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
