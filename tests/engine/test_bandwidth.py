"""Downloads under a rate, a budget and windows, from registries on loopback; and what the commands show of it."""

import random
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.domain.digest import of_bytes
from reconciler.domain.errors import Paused
from reconciler.domain.machine.bandwidth import Bandwidth, Meter
from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.registries import RegistrySettings, read_address
from reconciler.engine.machine import at_any_time, open_machine
from reconciler.engine.traffic import AHEAD
from reconciler.registry.client import RegistryClient
from reconciler.registry.download import Blob, BlobDownload
from reconciler.registry.opening import open_registry
from tests.at_rest import opened
from tests.engine.test_pull_job import pushed
from tests.engine.test_traffic import NIGHT, NOON, Clock, traffic_of
from tests.machine import TestMachine
from tests.registry.places import REPOSITORY, client_of
from tests.registry_server import FakeRegistry, Fault, _Handler

DATA = random.Random(7).randbytes(400_000)
BLOB = Blob(digest=of_bytes(DATA), size=len(DATA))
EVENING = NOON + 10 * 3600.0


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry().running() as one:
        one.held(REPOSITORY).blobs[BLOB.digest] = DATA
        yield one


@pytest.fixture
def client(fake: FakeRegistry) -> Iterator[RegistryClient]:
    one = client_of(fake.origin)
    yield one
    one.session.close()


def come(client: RegistryClient, target: Path, meter: Meter) -> None:
    BlobDownload(client, BLOB, str(target), meter=meter).run()
    assert target.read_bytes() == DATA


def test_a_rate_holds_for_what_comes_from_a_registry(client: RegistryClient, tmp_path: Path) -> None:
    clock = Clock(EVENING)
    traffic = traffic_of(tmp_path, clock, Bandwidth(rate=100_000))
    come(client, tmp_path / "blob", traffic.meter())
    assert clock.slept == pytest.approx(4.0, abs=0.2)
    assert traffic.origins == {client.session.address.host: len(DATA)}


def test_a_rate_holds_over_downloads_at_the_same_time(fake: FakeRegistry, tmp_path: Path) -> None:
    clock = Clock(EVENING)
    traffic = traffic_of(tmp_path, clock, Bandwidth(rate=100_000))
    clients = [client_of(fake.origin) for _ in range(3)]
    ends: list[float] = []

    def one(number: int) -> None:
        come(clients[number], tmp_path / f"blob{number}", traffic.meter())
        ends.append(traffic.rate._paid)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.session.close()
    assert max(ends) - EVENING >= 3 * len(DATA) / 100_000 - 0.2


def test_the_kernel_holds_what_it_is_told(fake: FakeRegistry) -> None:
    address = read_address(f"{fake.origin}/{REPOSITORY}")
    assert address is not None
    sizes = []
    for size in (80 << 10, 0):
        with open_registry(RegistrySettings(address=address), receive_buffer=size) as opening:
            client = opening.registry
            stream = client.session.open(client.blob_url(BLOB.digest), (200,)).stream
            assert stream is not None
            sizes.append(stream.connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
            stream.close()
    assert sizes[0] in (80 << 10, 160 << 10)  # Linux doubles it for what it needs itself
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize("ending", ["window", "budget"])
def test_a_download_pauses_and_goes_on_from_there(
    ending: str, fake: FakeRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    """Also in another process: nothing but the disk knows what has come."""
    clock = Clock(EVENING)
    limits = {"bandwidth": Bandwidth(daily=100_000)} if ending == "budget" else {"windows": NIGHT}

    def pace(at: int) -> None:
        if ending == "window" and at >= 100_000:
            clock.now = EVENING + 8 * 3600.0  # six in the morning

    def paced(handler: _Handler) -> bool:
        handler.pace = pace
        return False

    fake.faults.append(Fault(method="GET", path="/blobs/", act=paced))
    target = tmp_path / "blob"
    with pytest.raises(Paused):
        come(client, target, traffic_of(tmp_path, clock, **limits).meter())  # type: ignore[arg-type]
    came = (tmp_path / "blob.part").stat().st_size
    assert 0 < came < len(DATA)
    with pytest.raises(Paused):  # it is still day, or still the same day
        come(client, target, traffic_of(tmp_path, clock, **limits).meter())  # type: ignore[arg-type]
    came = (tmp_path / "blob.part").stat().st_size
    for _ in range(5):
        clock.now += 86_400.0 if ending == "budget" else 16 * 3600.0
        try:
            come(client, target, traffic_of(tmp_path, clock, **limits).meter())  # type: ignore[arg-type]
            break
        except Paused:
            assert ending == "budget"
    assert target.read_bytes() == DATA
    ranges = [one.range for one in fake.asked("GET", "/blobs/")]
    assert ranges[0] == ""
    assert f"bytes={came}-" in ranges
    assert "" not in ranges[1:]


CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
convert: registry-only
registries: [{{url: "{origin}/{repository}"}}]
{more}
"""


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare()
    return one


def configured(machine: TestMachine, fake: FakeRegistry, more: str = "") -> dict[str, str]:
    config = machine.folder / "machine.yaml"
    config.write_text(CONFIG.format(origin=fake.origin, repository=REPOSITORY, more=more))
    config.chmod(0o600)
    return {"RECONCILER_CONFIG": str(config)}


def window(hours: float) -> str:
    """An hour that begins so many hours from now."""
    begin = datetime.now(UTC) + timedelta(hours=hours)
    return f'{{start: "{begin:%H:%M}", end: "{begin + timedelta(hours=1):%H:%M}"}}'


def test_what_waits_is_shown_and_comes_when_it_may(machine: TestMachine, fake: FakeRegistry, tmp_path: Path) -> None:
    key = pushed(machine, fake.origin, tmp_path)
    held = configured(machine, fake, f"windows: {{fetch: [{window(3)}]}}")
    fake.requests.clear()
    assert machine.run("apply", **held).code == 3
    assert fake.asked("GET", "/blobs/") == []
    plan = machine.run("plan", "-o", "json", **held).json()
    [one] = plan["held"]
    until = datetime.fromisoformat(one["until"])
    assert one["reason"] == "AwaitingWindow"
    assert timedelta(hours=2, minutes=58) < until - datetime.now(UTC) < timedelta(hours=3)
    assert f"until {until:%H:%M} (UTC)" in one["message"] or f"until {until:%Y-%m-%d %H:%M} (UTC)" in one["message"]
    assert one["message"] in machine.run("plan", **held).out
    status = machine.run("status", **held).out
    assert one["message"] in status
    assert "AwaitingWindow" in status
    open_now = configured(machine, fake, f"windows: {{fetch: [{window(-0.5)}], build: [{window(3)}]}}")
    machine.run("apply", **open_now)
    assert set(opened(machine).store.artifacts()) == {key}


def test_a_person_need_not_wait(machine: TestMachine, fake: FakeRegistry, tmp_path: Path) -> None:
    key = pushed(machine, fake.origin, tmp_path)
    held = configured(machine, fake, f"windows: {{fetch: [{window(3)}]}}\nbandwidth: {{metered: hold}}")
    [one] = machine.run("plan", "-o", "json", **held).json()["held"]
    assert one["reason"] == "MeteredConnection"
    machine.run("apply", "--at-any-time", **held)
    assert set(opened(machine).store.artifacts()) == {key}


def test_a_budget_that_is_spent_ends_a_pull_and_keeps_what_came(
    machine: TestMachine, fake: FakeRegistry, tmp_path: Path
) -> None:
    key = pushed(machine, fake.origin, tmp_path, b"no model" * (3 << 17))
    spent = configured(machine, fake, "bandwidth: {daily: 1MiB}")
    assert machine.run("apply", **spent).code == 3
    [one] = machine.run("plan", "-o", "json", **spent).json()["held"]
    assert one["reason"] == "BudgetSpent"
    events = machine.run("events", "-o", "json").out
    assert "today's budget is used up; what has come is kept" in events
    assert "pull.failed" not in events
    [part] = (machine.root / "sources" / "registry" / key[7:]).glob("*.part")
    came = part.stat().st_size
    assert 1 << 20 <= came <= 3 << 20
    assert machine.run("apply", **spent).code == 3
    assert part.stat().st_size == came
    free = configured(machine, fake)
    fake.requests.clear()
    machine.run("apply", **free)
    assert set(opened(machine).store.artifacts()) == {key}
    assert f"bytes={came}-" in [one.range for one in fake.asked("GET", "/blobs/")]


def test_at_any_time_keeps_rate_and_budget(tmp_path: Path) -> None:
    limits = Bandwidth(rate=1 << 20, daily=AHEAD << 20, metered="hold", splay=60.0)
    machine = open_machine(str(tmp_path / "root"), str(tmp_path / "cache"), Traits(bandwidth=limits, windows=NIGHT))
    free = at_any_time(machine)
    assert free.traits.bandwidth == Bandwidth(rate=1 << 20, daily=AHEAD << 20)
    assert free.traffic.timetable.fetching().until is None
    assert free.traffic.budget == (0, AHEAD << 20)
