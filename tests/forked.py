"""The command line in a process of its own, without the half second in which Python starts and imports it: a server
that has imported everything forks for each command. In files of tests that convert (`with_olive`) another one has
imported Olive too, and the converter's workers fork from that, so that no test imports Olive for seven seconds
(`tests.forked_child`). All processes of a run of the tests ask one server of each kind: the first that needs it starts
it, and it ends with the last. A command that goes on, such as a daemon, comes from the server with Olive there, so that
all that it starts is below it; its workers of Foundry Local and its renderer it asks of the other server.

The command has its own arguments, streams, working directory, environment and exit code, and runs `reconciler.__main__`
as `python -m reconciler` does. What is read while modules are imported is as in the server, so a command whose
environment says such a thing is started the usual way: see `can_fork`.
"""

import array
import atexit
import contextlib
import errno
import gc
import json
import logging
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from reconciler.host import child, durable
from reconciler.host.child_side import PARENT_VARIABLE
from tests import canaries, forked_child

REPOSITORY = Path(__file__).parent.parent
AT_IMPORT = ("PYTHON", "LC_", "LANG", "COVERAGE", "LD_")
STREAMS = 2  # of a command; a worker has its requests too
MOST_DESCRIPTORS = 3
RUNNING = 1 << 16  # in place of an exit code
LIGHT, OLIVE = "light", "olive"  # what a server has imported
_TESTS = os.getpid()
_kind = LIGHT
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex  # the same for all processes of pytest-xdist
UNASKED = 60.0  # seconds that a server waits for the first who asks
_started: "list[Worker]" = []
_starting = threading.Lock()
_servers: "dict[tuple[int, str], Server]" = {}  # by process and kind


@contextlib.contextmanager
def with_olive() -> Iterator[None]:
    """For what is started in the block: commands of the main thread, and the converter's workers."""
    global _kind  # noqa: PLW0603
    before, _kind = _kind, OLIVE
    try:
        yield
    finally:
        _kind = before


def _deciding(environment: Mapping[str, str]) -> dict[str, str]:
    decides = {name: value for name, value in environment.items() if name.startswith(AT_IMPORT)}
    return {"PYTHONPATH": str(REPOSITORY)} | decides


_INHERITED = _deciding({**os.environ, "PYTHONPATH": str(REPOSITORY)})


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether nothing in it decides what an import does, beyond what did so when the tests began."""
    return hasattr(os, "memfd_create") and _deciding(environment) == _INHERITED


class Line:
    """To a process that forks for this one. Any thread may ask."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._asking = threading.Lock()

    @classmethod
    def to(cls, name: str) -> "Line":
        return cls(_connected(name))

    def ask(self, order: dict[str, Any], descriptors: Sequence[int] = ()) -> int:
        data = json.dumps(order).encode()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        with self._asking:
            self._peer.sendmsg([len(data).to_bytes(4, "big")], [rights] if descriptors else [])
            self._peer.sendall(data)
            return int.from_bytes(_exactly(self._peer, 4), "big", signed=True)


class Server(Line):
    """Of this run. `light`: the name of the other server, for one with Olive."""

    def __init__(self, kind: str, light: str = "") -> None:
        self.name = f"reconciler-tests-{_RUN}-{kind}"
        self._process: subprocess.Popen[bytes] | None = None  # where this process started it
        with contextlib.suppress(ConnectionRefusedError):  # nobody has started it
            super().__init__(_connected(self.name))
            return
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-m", "tests.forked", kind, self.name, light]
        self._process = subprocess.Popen(command, env=environment, cwd=REPOSITORY)
        super().__init__(_awaited(self.name, self._process))

    def leave(self) -> None:
        """It ends with the last who asks, so nobody waits for its end."""
        self._peer.close()
        if self._process is not None:
            self._process.returncode = 0


def _connected(name: str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.connect("\0" + name)
    except OSError:
        peer.close()
        raise
    return peer


def _awaited(name: str, starting: subprocess.Popen[bytes]) -> socket.socket:
    """Its door is open before it imports anything. Of two that start at once one finds the door taken, and ends."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return _connected(name)
        if starting.poll():
            raise EOFError(f"the server of commands ended with {starting.returncode}")
        time.sleep(0.01)


def _server(kind: str) -> Server:
    asker = os.getpid(), kind
    light = _server(LIGHT).name if kind == OLIVE else ""
    with _starting:
        if asker not in _servers:
            _servers[asker] = Server(kind, light)
            atexit.register(_servers[asker].leave)
        return _servers[asker]


def server_name() -> str:
    """Of the one that forks commands; who knows it can ask."""
    return _server(LIGHT).name


def servers() -> list[int]:
    """Those that this process started. What is below them may be another process's."""
    return [one._process.pid for one in _servers.values() if one._process is not None]


def _kind_of_commands() -> str:
    """Olive's half gigabyte is for the main thread alone: others ask while it works."""
    return _kind if threading.current_thread() is threading.main_thread() else LIGHT


class Forked(forked_child.Awaited):
    """A child of a server, who is asked for its end."""

    def __init__(self, server: Line, order: dict[str, Any], descriptors: Sequence[int]) -> None:
        self._server = server
        self.pid = server.ask(order, descriptors)
        self._looking = threading.Lock()

    def poll(self) -> int | None:
        with self._looking:
            if self.returncode is None:
                try:
                    code = self._server.ask({"poll": self.pid})
                except OSError:  # the tests are over, and the server with them
                    code = 0
                self.returncode = None if code == RUNNING else code
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Without asking again and again."""
        with contextlib.suppress(OSError, AttributeError):  # it has been waited for, or there is no such call here
            ended = os.pidfd_open(self.pid)
            try:
                looked = select.poll()
                looked.register(ended, select.POLLIN)
                looked.poll(None if timeout is None else 1000 * timeout)
            finally:
                os.close(ended)
        return super().wait(0.0 if timeout is not None else None)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    timeout: float,
    script: str | Path = "",
    *,
    kind: str = "",
) -> subprocess.CompletedProcess[str]:
    """With `script` that Python file is run in place of `python -m reconciler`."""
    canaries.started(["reconciler", *arguments])
    files = [open(os.memfd_create("stream"), "w+b") for _ in range(STREAMS)]  # noqa: SIM115
    with contextlib.ExitStack() as stack:
        for file in files:
            stack.enter_context(file)
        order = _order(arguments, directory, environment) | {"script": str(script)}
        kind = kind or _kind_of_commands()
        if kind == OLIVE and not script:  # half a gigabyte is forked for a conversion, and not for each command
            order["olive"], kind = _server(OLIVE).name, LIGHT
        child = Forked(_server(kind), order, [file.fileno() for file in files])
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        said = []
        for file in files:
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(["reconciler", *arguments], child.wait(), *said)


def run_beside_olive(
    script: Path, arguments: Sequence[str], directory: Path, environment: Mapping[str, str], timeout: float = 300.0
) -> str:
    """What a Python file prints that works with Olive, or with torch and transformers, which are imported already. It
    has to end well."""
    if hasattr(os, "memfd_create"):
        done = run(arguments, directory, environment, timeout, script, kind=OLIVE)
    else:
        command = [sys.executable, str(script), *arguments]
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Worker(Forked):
    """A worker of `host.child` for this process."""

    def __init__(
        self, module: str, environment: Mapping[str, str], directory: str, log: IO[bytes], server: Line
    ) -> None:
        its_in, our_in = os.pipe()
        our_out, its_out = os.pipe()
        order = _order([], Path(directory), environment) | {"worker": module}
        super().__init__(server, order, [its_in, its_out, log.fileno()])
        os.close(its_in)
        os.close(its_out)
        self.stdin, self.stdout = os.fdopen(our_in, "wb"), os.fdopen(our_out, "rb")
        self._module = module
        _started.append(self)

    @classmethod
    def alive(cls) -> list[int]:
        return [one.pid for one in _started if one.poll() is None]

    @classmethod
    def running(cls, module: str) -> list[int]:
        """Process numbers. Their command line is that of the server."""
        return [one.pid for one in _started if one._module == module and one.poll() is None]


def start_worker(
    module: str, environment: Mapping[str, str], log: IO[bytes], directory: str, wrap: forked_child.Wrap
) -> subprocess.Popen[bytes]:
    """In place of `host.child._start` in a test process: a server forks for it."""
    light = (*forked_child.LIGHT, *forked_child.LYING)
    kinds = {**dict.fromkeys(light, LIGHT), **dict.fromkeys(forked_child.HEAVY, OLIVE)}
    kind = kinds.get(module)
    if (
        kind not in (LIGHT, _kind)
        or forked_child.is_wrapped(module, wrap)
        or os.getpid() != _TESTS
        or not can_fork(os.environ | {"PYTHONPATH": str(REPOSITORY)})
    ):
        return forked_child._usual(module, environment, log, directory, wrap)
    given = {**child._import_path(), **environment}
    return cast("subprocess.Popen[bytes]", Worker(module, given, directory, log, _server(str(kind))))


def start(
    arguments: Sequence[str], directory: Path, environment: Mapping[str, str], log: IO[Any]
) -> subprocess.Popen[bytes] | Forked:
    """A command that goes on: a fork, or where that is not possible a new process. Both its streams go to `log`."""
    if can_fork(environment):
        canaries.started(["reconciler", *arguments])
        order = _order(arguments, directory, environment)
        return Forked(_server(_kind_of_commands()), order, [log.fileno()] * STREAMS)
    return subprocess.Popen(
        [sys.executable, "-m", "reconciler", *arguments],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )


def _order(arguments: Sequence[str], directory: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    return {"arguments": [*arguments], "directory": str(directory), "environment": dict(environment)}


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise EOFError("the server of commands has ended")
        data += more
    return data


def _opened(name: str) -> socket.socket | None:
    """The door of a server; None where another one has it."""
    door = socket.socket(socket.AF_UNIX)
    try:
        door.bind("\0" + name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    door.listen(64)
    return door


def _serve(door: socket.socket) -> dict[str, Any] | None:
    """One fork for each order of whoever knows the name. Returns in the child alone, with its order; None once nobody
    is left who might ask."""
    asking: list[socket.socket] = []
    patience: float | None = UNASKED
    while asking or patience:
        ready, _, _ = select.select([door, *asking], [], [], patience)
        if not ready:
            return None
        peer, patience = ready[0], None
        if peer is door:
            asking.append(door.accept()[0])
            continue
        asked = _asked_by(peer)
        if asked is None:
            _let_go(peer, asking)
            continue
        order, descriptors = asked
        if "poll" in order:
            _answer(peer, _code_of(order["poll"]), asking)
            continue
        child = os.fork()
        if not child:
            for one in (door, *asking):
                one.close()
            if "worker" in order:
                given = order["environment"] | {PARENT_VARIABLE: str(os.getppid())}
                forked_child.become(order["worker"], given, order["directory"], *descriptors)
            _become(order, descriptors)
            return order
        for descriptor in descriptors:
            os.close(descriptor)
        _answer(peer, child, asking)
    return None


def _asked_by(peer: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """None where it has gone: a process that asks may be killed at any time, and others ask on."""
    try:
        head, descriptors = _head(peer)
        return (json.loads(_exactly(peer, int.from_bytes(head, "big"))), descriptors) if head else None
    except (OSError, EOFError):
        return None


def _answer(peer: socket.socket, number: int, asking: list[socket.socket]) -> None:
    try:
        peer.sendall(number.to_bytes(4, "big", signed=True))
    except OSError:
        _let_go(peer, asking)


def _let_go(peer: socket.socket, asking: list[socket.socket]) -> None:
    asking.remove(peer)
    peer.close()


def _code_of(pid: int) -> int:
    """Its exit code; 0 where another asker has learned it before."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if ended else RUNNING


def _head(peer: socket.socket) -> tuple[bytes, list[int]]:
    data, passed, _, _ = peer.recvmsg(4, socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize))
    numbers = array.array("i")
    for _level, _kind, rights in passed:
        numbers.frombytes(rights)
    return data, numbers.tolist()


def _become(order: dict[str, Any], descriptors: list[int]) -> None:
    """As a new process is: its streams, directory, environment and arguments."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, *descriptors)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding=sys.stdin.encoding, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding=sys.stderr.encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(order["environment"])
    durable._crash_at = int(os.environ.get("RECONCILER_CRASH_AT", "0"))
    durable._fail_at = durable.fault(os.environ.get("RECONCILER_FAIL_AT") or "0:EIO")
    os.chdir(order["directory"])
    sys.path[0] = order["directory"]
    sys.argv = ["reconciler", *order["arguments"]]
    if name := order.get("olive"):
        forked_child.ask_for_olive(_asker(name))


def _asker(name: str) -> forked_child.Asked:
    return lambda *given: cast("subprocess.Popen[bytes]", Worker(*given, Line.to(name)))


def _forget_what_ends_the_server() -> None:
    """What its libraries do at its end takes a tenth of a second, and removes what is the server's."""
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    atexit.register(logging.shutdown)


def _import_all() -> None:
    from importlib import import_module

    from reconciler.cli.main import VERBS

    for verb in VERBS:
        import_module(f"reconciler.cli.verbs.{verb}")
    import_module("reconciler.sources.manifests").load(
        str(REPOSITORY / "manifests")
    )  # its types are built at first use


def main() -> None:
    kind, name, light = sys.argv[1:]
    door = _opened(name)
    if door is None:
        return
    _import_all()
    if kind == OLIVE:
        forked_child.import_olive(_asker(light))
    else:
        forked_child.import_light()
    gc.freeze()  # else each fork copies what it only counts
    order = _serve(door)
    if order is None:
        return
    _forget_what_ends_the_server()
    try:
        if order.get("script"):
            runpy.run_path(order["script"], run_name="__main__")
            if kind == OLIVE:
                _flush_and_end(0)
        else:
            _run_command()
    except SystemExit as ended:
        if isinstance(ended.code, int | None):
            _end_now(ended.code or 0)
        raise


def _run_command() -> None:
    runpy.run_module("reconciler", run_name="__main__", alter_sys=True)


def command_here(
    arguments: Sequence[str], directory: str, environment: Mapping[str, str], descriptors: list[int]
) -> int:
    """The exit code of a command that a script runs: in a fork of its own process."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            _become(_order(arguments, Path(directory), environment), [os.dup(one) for one in descriptors])
            _run_command()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            _end_now(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _end_now(code: int) -> NoReturn:
    """As Python ends, without taking its modules apart, which takes longer than most commands, and without what native
    libraries do last: they wait for threads that a fork does not have."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _flush_and_end(code)


def _flush_and_end(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
