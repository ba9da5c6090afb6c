"""Fetching from a hub on loopback, through the real child process and the real huggingface_hub."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.domain.errors import Cancelled, Paused, PermanentError, ReconcilerError, TemporaryError, UsageError
from reconciler.domain.layout import Layout
from reconciler.domain.machine.bandwidth import UNMETERED, Bandwidth, Meter
from reconciler.domain.manifest import Model, Template
from reconciler.domain.sources.locked import LockedSource
from reconciler.host.stamps import StampBook
from reconciler.operations.lock import lock
from reconciler.sources.cache import SourceCache
from reconciler.sources.download import Download
from reconciler.sources.hub.source import Hub, HubAccess
from tests import canaries
from tests.engine.test_traffic import Clock, traffic_of
from tests.extras import needs
from tests.hub_server import COMMIT, HubServer, Repo
from tests.waiting import wait_for

needs("huggingface_hub", "hub")

CANARY = canaries.secret("hub-test")
SHARD = "model.safetensors"
MIB = 1 << 20


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer().running() as running:
        yield running


class Bench:
    """One root and one hub."""

    def __init__(self, server: HubServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.cache = SourceCache(Layout(str(folder)))
        self.stamps = StampBook.empty()
        self.progress: list[tuple[float, str]] = []

    def hub(self, token: str = "", silence: float = 60.0) -> Hub:
        environment = {"HF_ENDPOINT": self.server.url, "HF_TOKEN": token}
        home, log = self.folder / f"home{random.random()}", self.folder / "logs" / "hub.log"
        return Hub(HubAccess.of(environment), home=str(home), log=str(log), silence=silence)

    def lock(self, repo: str = "org/tiny", token: str = "") -> LockedSource:
        model = Model(
            name="m",
            file="m.yaml",
            line=1,
            remote=LockedSource(repo=repo, revision=COMMIT),
            precisions=("int4",),
            template=Template(origin="source", jinja=None),
        )
        with self.hub(token) as hub:
            (source,) = lock([model], {}, {"huggingface": hub}, lambda line: None).entries.values()
        return source

    def fetch(self, source: LockedSource, hub: Hub | None = None, meter: Meter = UNMETERED) -> None:
        with hub or self.hub() as opened:
            folder = self.cache.begin(source)
            Download(opened, source, folder, lambda fraction, text: self.progress.append((fraction, text)), meter).run()
        self.cache.publish(source, self.stamps)

    def holds(self, source: LockedSource) -> bool:
        return self.cache.look(source, self.stamps).whole


class Charged(Meter):
    bytes = 0

    def moved(self, origin: str, count: int) -> None:
        self.bytes += count


@pytest.fixture
def bench(server: HubServer, tmp_path: Path, capitals: Path) -> Bench:
    server.give("org/tiny", capitals)
    return Bench(server, tmp_path)


@pytest.fixture
def large(bench: Bench) -> LockedSource:
    """A source whose weights are 24 MiB of noise: nothing that a look would accept, but a download does not care."""
    repo = bench.server.repos["org/tiny"]
    repo.files = {"config.json": b"{}", SHARD: random.Random(7).randbytes(24 * MIB)}
    return bench.lock()


def test_a_source_comes_whole_and_is_known_again(bench: Bench, capitals: Path) -> None:
    source = bench.lock()
    assert bench.cache.look(source, bench.stamps).missing == source.size
    bench.fetch(source)
    cached = bench.cache.look(source, bench.stamps)
    assert cached.whole
    assert cached.model is not None
    assert cached.model.architecture
    folder = Path(bench.cache.folder(source.digest))
    assert {path.name for path in folder.iterdir()} == {file.path for file in source.files}
    for path in folder.iterdir():
        assert path.read_bytes() == (capitals / path.name).read_bytes()
        assert path.stat().st_mode & 0o222 == 0
    assert bench.progress[-1][0] == 1.0
    fractions = [fraction for fraction, _ in bench.progress]
    assert fractions == sorted(fractions)
    assert not list(bench.folder.glob("home*"))


def test_a_rate_and_a_budget_hold_for_the_child_that_downloads(bench: Bench, large: LockedSource) -> None:
    """It takes no piece before it may: what the rate makes it wait is no silence."""
    clock = Clock()
    traffic = traffic_of(bench.folder / "root", clock, Bandwidth(rate=MIB, daily=8 * MIB))
    with pytest.raises(Paused, match="budget"):
        bench.fetch(large, meter=traffic.meter())
    part = Path(bench.cache.partial(large.digest)) / f"{SHARD}.part"
    came = part.stat().st_size
    assert 8 * MIB - MIB // 8 <= came <= 8 * MIB
    assert clock.slept == pytest.approx(8.0, abs=0.3)
    assert traffic.origins == {"huggingface": came + 2}
    free = traffic_of(bench.folder / "root", clock)
    bench.fetch(large, meter=free.meter())
    assert bench.holds(large)
    assert free.origins == {"huggingface": 24 * MIB - came}
    assert f"bytes={came}-" in [one.range for one in bench.server.requests]


def test_a_lost_folder_is_remembered(bench: Bench) -> None:
    """What a machine was told by a whole folder it still knows without one: its artifacts need no download."""
    source = bench.lock()
    bench.fetch(source)
    whole = bench.cache.look(source, bench.stamps).model
    folder = bench.cache.folder(source.digest)
    os.rename(folder, bench.folder / "away")
    lost = bench.cache.look(source, bench.stamps)
    assert lost.missing == source.size
    assert lost.model == whole


def test_a_changed_file_alone_comes_again(bench: Bench) -> None:
    source = bench.lock()
    bench.fetch(source)
    path = Path(bench.cache.folder(source.digest)) / SHARD
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    cached = bench.cache.look(source, bench.stamps)
    assert cached.damaged == (SHARD,)
    assert cached.missing == len(data)
    assert cached.model is not None
    bench.server.requests.clear()
    bench.fetch(source)
    assert bench.holds(source)
    assert {one.path.rpartition("/")[2] for one in bench.server.requests if one.method == "GET"} == {SHARD}


def test_a_cut_connection_goes_on_where_it_ended(bench: Bench, large: LockedSource) -> None:
    bench.server.unkind.cut_after = [9 * MIB, 4 * MIB]
    bench.fetch(large)
    assert bench.holds(large)
    ranges = [one.range for one in bench.server.requests if one.path.endswith(SHARD) and one.range]
    assert len(ranges) == 2
    assert bench.server.bytes_sent(SHARD) < 27 * MIB


def test_a_server_without_ranges_starts_over(bench: Bench, large: LockedSource) -> None:
    bench.server.unkind.cut_after = [9 * MIB]
    bench.server.unkind.no_range = True
    bench.fetch(large, meter=(meter := Charged()))
    assert bench.holds(large)
    # What came twice is charged twice; of what is cut, a piece may be on its way.
    assert large.size + 8 * MIB <= meter.bytes <= large.size + 10 * MIB


def test_a_killed_download_goes_on_in_the_next_process(bench: Bench, large: LockedSource) -> None:
    bench.server.unkind.hold_after = 15 * MIB
    hub = bench.hub()

    def missing() -> int:
        return bench.cache.look(large, bench.stamps).missing

    killed = threading.Thread(target=_kill_when, args=(hub, lambda: missing() < 12 * MIB))
    killed.start()
    with pytest.raises(TemporaryError) as refused:
        bench.fetch(large, hub)
    killed.join()
    assert refused.value.code == "FetchFailed"
    assert "SIGKILL" in str(refused.value)
    came = missing()
    assert 8 * MIB < came < 12 * MIB
    bench.server.unkind.hold_after = 0
    bench.server.unkind.release.set()
    bench.server.requests.clear()
    bench.fetch(large)
    assert bench.holds(large)
    assert bench.server.bytes_sent(SHARD) == came
    assert bench.server.bytes_sent("config.json") == 0


def _kill_when(hub: Hub, ready: Callable[[], bool]) -> None:
    wait_for(ready)
    assert hub._child is not None
    os.kill(hub._child.pid, 9)


def test_it_is_cancelled_from_another_thread(bench: Bench, large: LockedSource) -> None:
    bench.server.unkind.hold_after = 2 * MIB
    hub = bench.hub()
    timer = threading.Timer(1.5, hub.cancel)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        bench.fetch(large, hub)
    assert time.monotonic() - started < 45  # the server holds it for a minute
    timer.join()


def test_silence_ends_it(bench: Bench, large: LockedSource) -> None:
    bench.server.unkind.hold_after = 2 * MIB
    with pytest.raises(TemporaryError, match="nothing came for 2 s") as refused:
        bench.fetch(large, bench.hub(silence=2.0))
    assert refused.value.code == "HubUnreachable"


def test_a_short_wait_is_sat_out(bench: Bench) -> None:
    source = bench.lock()
    bench.server.unkind.busy = ["1", "1"]
    started = time.monotonic()
    bench.fetch(source)
    assert bench.holds(source)
    assert time.monotonic() - started > 2


def test_a_long_wait_is_told(bench: Bench) -> None:
    source = bench.lock()
    bench.server.unkind.busy = ["3600"]
    with pytest.raises(TemporaryError) as refused:
        bench.fetch(source)
    assert (refused.value.code, refused.value.delay) == ("HubBusy", 3600.0)


def test_bytes_that_changed_under_a_commit_are_refused_and_named(bench: Bench) -> None:
    source = bench.lock()
    files = bench.server.repos["org/tiny"].files
    changed = bytearray(files[SHARD])
    changed[-1] ^= 1
    files[SHARD] = bytes(changed)
    with pytest.raises(PermanentError, match=f"{SHARD} is not the file that was locked") as refused:
        bench.fetch(source)
    assert refused.value.code == "DigestMismatch"
    partial = Path(bench.cache.partial(source.digest))
    assert not [path for path in partial.iterdir() if path.name.startswith(SHARD)]
    assert not bench.holds(source)


def test_a_file_of_another_size_is_not_downloaded(bench: Bench) -> None:
    source = bench.lock()
    bench.server.repos["org/tiny"].files[SHARD] += b"more"
    with pytest.raises(PermanentError, match="the lock says") as refused:
        bench.fetch(source)
    assert refused.value.code == "DigestMismatch"
    assert bench.server.bytes_sent(SHARD) == 0


def test_a_partial_file_of_other_bytes_costs_one_more_download(bench: Bench, large: LockedSource) -> None:
    folder = Path(bench.cache.begin(large))
    (folder / f"{SHARD}.part").write_bytes(b"x" * MIB)
    bench.fetch(large)
    assert bench.holds(large)
    assert bench.server.bytes_sent(SHARD) == 47 * MIB


REFUSALS: dict[str, tuple[Callable[[HubServer], None], str, type[ReconcilerError], str]] = {
    "no such repository": (lambda s: s.repos.clear(), "HubForbidden", TemporaryError, "no such model"),
    "no such commit": (
        lambda s: setattr(s.repos["org/tiny"], "commit", "d" * 40),
        "HubNotFound",
        PermanentError,
        "no such commit",
    ),
    "no such file": (lambda s: s.repos["org/tiny"].files.clear(), "HubNotFound", PermanentError, "no such file"),
    "gated": (
        lambda s: s.repos.update({"org/tiny": Repo(files={}, gated=True, token="other")}),
        "HubGated",
        TemporaryError,
        "terms",
    ),
    "broken": (lambda s: setattr(s.unkind, "broken", 1000), "HubUnreachable", TemporaryError, "503"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_hub_refuses_is_said(bench: Bench, name: str) -> None:
    source = bench.lock()
    change, code, kind, said = REFUSALS[name]
    change(bench.server)
    with pytest.raises(kind, match=said) as refused:
        bench.fetch(source)
    assert refused.value.code == code
    assert refused.value.hint


def test_a_hub_that_is_gone_may_come_back(bench: Bench) -> None:
    source = bench.lock()
    access = HubAccess.of({"HF_ENDPOINT": "http://127.0.0.1:9"})
    hub = Hub(access, home=str(bench.folder / "h"), log=str(bench.folder / "logs" / "hub.log"))
    with pytest.raises(TemporaryError) as refused:
        bench.fetch(source, hub)
    assert refused.value.code == "HubUnreachable"


def test_a_token_opens_a_gated_model_and_goes_nowhere_else(bench: Bench) -> None:
    """The bytes lie with another server, as the hub's do with a content network: it is not told the token."""
    repo = bench.server.repos["org/tiny"]
    repo.gated, repo.token = True, CANARY
    with HubServer().running() as elsewhere:
        elsewhere.repos["org/tiny"] = Repo(files=repo.files)
        bench.server.unkind.redirect = elsewhere.url
        source = bench.lock(token=CANARY)
        bench.fetch(source, bench.hub(CANARY))
        assert elsewhere.bytes_sent(SHARD) == len(repo.files[SHARD])
        assert not any(one.authorization for one in elsewhere.requests)
    assert bench.holds(source)
    assert all(one.authorization == f"Bearer {CANARY}" for one in bench.server.requests)
    for path in bench.folder.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def test_a_token_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    held = tmp_path / "token"
    canaries.file(held, "hub-test")
    access = HubAccess.of({"RECONCILER_HF_TOKEN_FILE": str(held), "HF_TOKEN": "other"})
    assert CANARY not in repr(access)
    environment = access.child_environment("/nowhere")
    assert environment["HF_TOKEN"] == CANARY
    assert "HF_TOKEN" not in HubAccess.of({}).child_environment("/nowhere")


def test_a_child_gets_the_road_and_nothing_else() -> None:
    given = {"HTTPS_PROXY": "http://p:1", "no_proxy": "x", "SSL_CERT_FILE": "/ca", "AWS_SECRET": "s", "HF_HOME": "/h"}
    environment = HubAccess.of(given).child_environment("/home")
    assert environment["HTTPS_PROXY"] == "http://p:1"
    assert environment["no_proxy"] == "x"
    assert environment["SSL_CERT_FILE"] == "/ca"
    assert "AWS_SECRET" not in environment
    assert environment["HF_HOME"] == "/home"


@pytest.mark.parametrize(
    "given",
    [
        {"HF_ENDPOINT": "ftp://x"},
        {"HF_ENDPOINT": "https://user:secret@x"},
        {"HF_TOKEN": f"{CANARY}\nX: y"},
        {"HF_TOKEN": "x" * 5000},
        {"RECONCILER_HF_TOKEN_FILE": "/nowhere"},
    ],
)
def test_settings_that_are_none_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        HubAccess.of(given)
    assert CANARY not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_what_nobody_declares_is_freed(bench: Bench) -> None:
    source = bench.lock()
    bench.fetch(source)
    assert bench.cache.held() == {source.digest: source.size}
    bench.cache.free(source.digest)
    assert bench.cache.held() == {}
    assert bench.cache.look(source, bench.stamps).model is None


@pytest.mark.parametrize(
    ("files", "code"),
    [({"config.json": b"{}", "pytorch_model.bin": b"x"}, "WeightsMissing"), ({SHARD: b"x"}, "ConfigMissing")],
)
def test_what_no_machine_could_convert_is_not_locked(bench: Bench, files: dict[str, bytes], code: str) -> None:
    bench.server.repos["org/tiny"].files = files
    with pytest.raises(PermanentError) as refused:
        bench.lock()
    assert refused.value.code == code
