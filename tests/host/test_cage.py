"""A converter that tries to get out, in every cage that this machine has. What a weaker cage does not hold is expected
to escape: so each attempt is known to be a real one."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.conversion.client.converter import Converter
from reconciler.domain.errors import ConversionFailed, ConverterLost, ReconcilerError
from reconciler.domain.manifest import Target
from reconciler.domain.release import Recipe
from reconciler.host import cage, confine
from reconciler.host.cage import BUBBLEWRAP, CAGES, LANDLOCK_NETNS, LIMITS
from tests import canaries
from tests.host.escaping_worker import ESCAPED, GRANDCHILD_SECONDS, HELD
from tests.trust import record
from tests.waiting import PATIENCE, until

ESCAPER = "tests.host.escaping_worker"
MEMORY, DISK = 3 << 29, 64 << 20
SECRET = "hunter2"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there are no cages elsewhere")


class World:
    """One machine with secrets, services and a converter in one cage."""

    def __init__(self, name: str, base: Path) -> None:
        self.name = name
        self.base = base
        for folder in ("home/.ssh", "root/records", "root/served/model", "root/logs", "source", "elsewhere", "shown"):
            (base / folder).mkdir(parents=True)
        for file in ("home/.ssh/id_ed25519", "home/token", "root/records/stamps.json", "source/config.json"):
            (base / file).write_text(SECRET)
        (base / "root/served/model/genai_config.json").write_text(SECRET)
        self.converter = Converter(
            str(base / "root/staging/converting"),
            str(base / "root/logs"),
            jobs=2,
            module=ESCAPER,
            cage_mode=name if name != LIMITS else "off",
            memory=MEMORY,
            shown=(str(base / "shown"), str(base / "not there")),
        )

    def convert(self, attempt: str, target: str = "", timeout: float = PATIENCE) -> str:
        """The path of its log."""
        recipe = Recipe(
            source="sha256:s",
            adapter=None,
            architecture="",
            precision="int4",
            options={"algorithm": attempt, "target": target},
            target=Target(),
            tools={},
        )
        output = str(self.base / "out" / uuid.uuid4().hex)
        return self.converter.convert(recipe, str(self.base / "source"), output, timeout=timeout, disk=DISK)

    def escapes(self, attempt: str, target: str = "") -> bool:
        said = Path(self.convert(attempt, target)).read_text()
        assert said.startswith((ESCAPED, HELD)), said
        return said.startswith(ESCAPED)


def why_not(name: str) -> str:
    if name == BUBBLEWRAP:
        return cage.bubblewrap_fails()
    if name != LIMITS and not confine.landlock_abi():
        return "this kernel has no Landlock"
    return cage.netns_fails() if name == LANDLOCK_NETNS else ""


@pytest.fixture(scope="module", params=CAGES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    reason = why_not(request.param)
    if reason:
        pytest.skip(f"no {request.param} here: {reason}")
    one = World(request.param, tmp_path_factory.mktemp("caged"))
    with one.converter:
        yield one


ALL = frozenset(CAGES)
FILES = ALL - {LIMITS}  # cages that close the file system
IP = frozenset({BUBBLEWRAP, LANDLOCK_NETNS})
SCOPED = FILES if confine.landlock_abi() >= 6 else frozenset({BUBBLEWRAP})
TCP = FILES if confine.landlock_abi() >= 4 else IP

# What is tried, at what below the world, and the cages that hold it.
ATTEMPTS: dict[str, tuple[str, str, frozenset[str]]] = {
    "reading a private key": ("read", "home/.ssh/id_ed25519", FILES),
    "reading a token file": ("read", "home/token", FILES),
    "reading the root's records": ("read", "root/records/stamps.json", FILES),
    "listing a home": ("listing", "home", FILES),
    "listing the logs": ("listing", "root/logs", FILES),
    "writing into a home": ("write", "home", FILES),
    "writing into the records": ("write", "root/records", FILES),
    "writing into a served folder": ("write", "root/served/model", FILES),
    "writing into the logs": ("write", "root/logs", FILES),
    "writing elsewhere in /tmp": ("write", "elsewhere", FILES),
    "writing beside its scratch folder": ("write", "root/staging", FILES),
    "writing into the source": ("write", "source", FILES),
    "changing the source": ("append", "source/config.json", FILES),
    "removing the source": ("remove", "source/config.json", FILES),
    "changing a served file": ("append", "root/served/model/genai_config.json", FILES),
    "attaching to the worker": ("attach_to_the_worker", "", ALL),
    "reading the worker's memory": ("read_the_worker", "", ALL),
    "making a device": ("make_a_device", "", ALL),
    "holding pipes of others": ("keep_pipes", "", ALL),
    "gaining privileges": ("gain_privileges", "", ALL),
}


@pytest.mark.parametrize(("attempt", "target", "holding"), ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_what_a_cage_holds(world: World, attempt: str, target: str, holding: frozenset[str]) -> None:
    (world.base / "source/config.json").write_text(SECRET)
    escaped = world.escapes(attempt, str(world.base / target) if target else "")
    assert escaped == (world.name not in holding)
    held(world, attempt, target, yes=not escaped)


def held(world: World, *attempt: str, yes: bool = True) -> None:
    """One more for the table of promises."""
    record("cage", f"{yes:d} of 1 probes held by {world.name}", part="-".join((world.name, *attempt)))


def test_no_secret_of_the_environment_is_passed_on(world: World) -> None:
    assert canaries.ENVIRONMENT.items() <= os.environ.items()
    assert not world.escapes("find_a_secret", canaries.MARK[::-1])
    held(world, "find_a_secret")


def test_what_is_to_be_converted_can_be_read(world: World) -> None:
    (world.base / "source/config.json").write_text(SECRET)
    assert world.escapes("read", str(world.base / "source/config.json"))


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/passwd", "/root", "/home", "/var", "/run", "/proc/1/environ"])
def test_the_system_is_not_seen(world: World, path: str) -> None:
    if world.name == LIMITS:
        pytest.skip("limits are no wall")
    assert not world.escapes("read" if "/etc" in path or "/proc" in path else "listing", path) or (
        world.name == BUBBLEWRAP and path in ("/root", "/var", "/proc/1/environ")
    )


def test_the_kernel_is_not_told_anything(world: World) -> None:
    """core_pattern is a program that runs as root outside of every cage."""
    if world.name == LIMITS:
        pytest.skip("limits are no wall")
    assert not world.escapes("append", "/proc/sys/kernel/core_pattern")
    held(world, "core_pattern")


def test_no_network_by_tcp(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, greeting(server):
        assert world.escapes("connect_tcp", str(server.getsockname()[1])) == (world.name not in TCP)


def test_no_network_by_udp(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        assert world.escapes("send_udp", str(server.getsockname()[1])) == (world.name not in IP)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:  # wakes the thread
            last.sendto(b"", server.getsockname())


def test_no_sockets_in_the_file_system_where_there_is_one_of_its_own(world: World, tmp_path: Path) -> None:
    """Landlock knows none of them: whoever may connect by the file's mode, may."""
    path = f"/tmp/{uuid.uuid4().hex}.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with greeting(server):
            assert world.escapes("connect_unix", path) == (world.name != BUBBLEWRAP)
    os.remove(path)


def test_no_abstract_sockets(world: World) -> None:
    name = uuid.uuid4().hex
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        with greeting(server):
            assert world.escapes("connect_unix", "@" + name) == (world.name not in SCOPED | IP)


@contextlib.contextmanager
def greeting(server: socket.socket) -> Iterator[None]:
    """Whoever connects hears a word, until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=greet, args=(server, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        with socket.socket(server.family) as last:  # wakes the thread
            last.connect(server.getsockname())
        thread.join()


def greet(server: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"welcome")


def echo(server: socket.socket) -> None:
    data, sender = server.recvfrom(10)
    if data:
        server.sendto(data, sender)


def test_nobody_outside_is_killed(world: World) -> None:
    with subprocess.Popen(["sleep", "600"]) as bystander:
        try:
            escaped = world.escapes("kill", str(bystander.pid))
            assert escaped == (world.name not in SCOPED)
            if escaped:
                bystander.wait(PATIENCE)
            else:
                time.sleep(0.1)
                assert bystander.poll() is None
        finally:
            bystander.kill()


def test_the_worker_outlives_a_job_that_aims_at_it(world: World) -> None:
    if world.name not in SCOPED or not confine.landlock_abi():
        with pytest.raises(ConverterLost):
            world.convert("kill_the_worker")
    else:
        assert not world.escapes("kill_the_worker")


@pytest.mark.parametrize("attempt", ["leave_a_daemon", "leave_a_daemon_and_hang"])
def test_nothing_that_a_job_started_outlives_it(world: World, attempt: str) -> None:
    mark = str(time.time_ns())
    with contextlib.suppress(ConversionFailed):  # the one that hangs: its time is over
        world.convert(attempt, mark, timeout=2.0)
    until(lambda: not running(mark))
    held(world, attempt)


def test_nothing_outlives_a_converter_that_is_ended_at_once(tmp_path: Path, world: World) -> None:
    other = World(world.name, tmp_path)
    mark = str(time.time_ns())
    thread = threading.Thread(target=lost, args=(other, "leave_a_daemon_and_hang", mark))
    thread.start()
    time.sleep(0.7)
    other.converter.cancel()
    thread.join(PATIENCE)
    other.converter.close()
    until(lambda: not running(mark))


def lost(world: World, attempt: str, mark: str) -> None:
    with pytest.raises(ReconcilerError):
        world.convert(attempt, mark)


def running(mark: str) -> bool:
    for name in os.listdir("/proc"):
        try:
            command = Path("/proc", name, "cmdline").read_bytes() if name.isdecimal() else b""
        except OSError:
            continue
        if (GRANDCHILD_SECONDS + mark).encode() in command:
            return True
    return False


BOUNDS = {
    "multiply": ("ProcessLimit", "more than 64 processes"),
    "balloon": ("MemoryLimit", f"more than {MEMORY} bytes of memory"),
    "many_files": ("DiskLimit", f"more than {DISK} bytes"),
}


@pytest.mark.parametrize(("attempt", "code", "words"), [(a, *b) for a, b in BOUNDS.items()], ids=BOUNDS)
def test_bounds_hold(world: World, attempt: str, code: str, words: str) -> None:
    with pytest.raises((ConversionFailed, ConverterLost), match=words) as failure:
        world.convert(attempt)
    assert failure.value.code == code
    world.convert("gain_privileges")  # the worker is as it was
    held(world, attempt)


@pytest.mark.parametrize("attempt", ["one_long_file", "one_sparse_file"])
def test_no_file_grows_beyond_its_bound(world: World, attempt: str) -> None:
    try:
        escaped = world.escapes(attempt)
    except ConversionFailed as ended:  # who looks at its disk came before it met the bound itself
        escaped = ended.code != "DiskLimit"
    assert not escaped
    held(world, attempt)


RESULTS = {
    "link_as_model": ("/etc/passwd", "model.onnx that is no plain file"),
    "hard_link_as_model": ("", "model.onnx that is no plain file"),
    "pipe_as_settings": ("", "genai_config.json"),
    "link_as_result": ("", "a link in place of its result"),
    **{f"extra_file {name}": (name, "which no artifact holds") for name in ("x.so", "x.py", "x.pkl", "x.bin", "x.dll")},
}


@pytest.mark.parametrize(("attempt", "target", "words"), [(a, *b) for a, b in RESULTS.items()], ids=RESULTS)
def test_only_plain_files_of_an_artifact_are_taken(world: World, attempt: str, target: str, words: str) -> None:
    with pytest.raises(ConversionFailed, match=words) as failure:
        world.convert(attempt.split(maxsplit=1)[0], target)
    assert len(str(failure.value).splitlines()) == 1
    held(world, attempt, target)


def test_a_source_that_comes_later_is_seen_too_and_the_job_before_goes_on(world: World) -> None:
    """A running worker cannot be shown more: another one starts beside it."""
    stuck = threading.Thread(target=lost, args=(world, "leave_a_daemon_and_hang", str(time.time_ns())))
    stuck.start()
    time.sleep(0.3)
    later = world.base / "later"
    shutil.copytree(world.base / "source", later, dirs_exist_ok=True)
    assert lists(world, later)
    assert stuck.is_alive()
    world.converter.close()
    stuck.join(PATIENCE)


def test_a_source_that_comes_to_lie_in_a_shown_folder_takes_no_other_worker(world: World) -> None:
    assert lists(world, world.base / "source")
    worker = world.converter._child
    later = world.base / "shown" / uuid.uuid4().hex
    shutil.copytree(world.base / "source", later)
    assert lists(world, later)
    assert world.converter._child is worker


def lists(world: World, source: Path) -> bool:
    """Is it seen by the job that is to convert it?"""
    recipe = Recipe(
        source="",
        adapter=None,
        architecture="",
        precision="int4",
        options={"algorithm": "listing", "target": str(source)},
        target=Target(),
        tools={},
    )
    log = world.converter.convert(recipe, str(source), str(world.base / "out" / uuid.uuid4().hex), timeout=PATIENCE)
    return Path(log).read_text().startswith(ESCAPED)


def test_a_required_cage_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without bubblewrap on its PATH, and without Landlock."""
    found = subprocess.run(
        [sys.executable, "-c", NO_CAGE],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CageMissing no cage for the converter here, though one is required" in found.stdout, found.stderr
    assert "install bubblewrap" in found.stdout


NO_CAGE = """
from reconciler.host import cage, confine
cage.landlock_abi = confine.landlock_abi = lambda: 0
print(cage.find("auto").name, cage.find("auto").why)
try:
    cage.find("require")
except cage.CageMissing as error:
    print(error.code, error, error.hint)
"""
