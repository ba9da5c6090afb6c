"""Claims: one builder has a key at a time, as far as a registry without locks allows; what is left of the dead runs
out; and nobody is kept from working by what is no claim."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from reconciler.host.clock import text_of, unix
from reconciler.registry import claims
from reconciler.registry.claims import BUILDER, SINCE, TYPE, UNTIL, Claims, tag_of
from reconciler.registry.notes import note
from tests.registry.places import REPOSITORY, client_of
from tests.registry_server import FakeRegistry, Fault, _Handler, sha
from tests.waiting import until

KEY = "sha256:" + "a" * 64


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry().running() as one:
        yield one


def quiet(seconds: float) -> None:
    """No pause."""


def builder(fake: FakeRegistry, name: str, folder: Path, lease: float = claims.LEASE) -> Claims:
    return Claims(client_of(fake.origin), name, str(folder), lease=lease, sleep=quiet)


def put(fake: FakeRegistry, folder: Path, **said: str) -> None:
    client = client_of(fake.origin)
    names = {"builder": BUILDER, "since": SINCE, "until": UNTIL}
    whole = {"builder": "other", "since": text_of(time.time()), "until": text_of(time.time() + 60), **said}
    data = note(client, whole.pop("kind", TYPE), {names[key]: text for key, text in whole.items()}, str(folder))
    client.put_manifest(data, tag_of(KEY))
    client.session.close()


def test_one_has_it_until_it_gives_it_back(fake: FakeRegistry, tmp_path: Path) -> None:
    one, two = builder(fake, "one", tmp_path), builder(fake, "two", tmp_path)
    assert one.take(KEY) is None
    other = two.take(KEY)
    assert other is not None
    assert (other.builder, other.until > other.since) == ("one", True)
    assert one.take(KEY) is None  # of an earlier run of the same builder, for instance
    one.release(KEY)
    assert two.take(KEY) is None
    one.release(KEY)  # not its own any more: left alone
    assert one.take(KEY) is not None


def test_of_two_at_once_the_last_writer_has_it(fake: FakeRegistry, tmp_path: Path) -> None:
    """Both have read that it is free before either writes."""
    both_wrote = threading.Barrier(2, timeout=20)
    builders = [
        Claims(client_of(fake.origin), name, str(tmp_path), sleep=lambda _: both_wrote.wait() and None)
        for name in ("one", "two")
    ]
    read = threading.Barrier(2, timeout=20)

    def together(handler: _Handler) -> bool:
        read.wait()
        return False

    fake.faults.append(Fault(method="GET", path="/manifests/claim-", act=together, times=2))
    found: dict[int, object] = {}
    threads = [
        threading.Thread(target=lambda n=n, one=one: found.setdefault(n, one.take(KEY)))
        for n, one in enumerate(builders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert list(found.values()).count(None) == 1


def test_a_claim_of_the_dead_runs_out(fake: FakeRegistry, tmp_path: Path) -> None:
    dead = builder(fake, "dead", tmp_path)
    put(fake, tmp_path, builder="dead", until=text_of(time.time() + 2))
    other = builder(fake, "other", tmp_path)
    assert other.take(KEY) is not None
    until(lambda: other.take(KEY) is None)
    assert dead.take(KEY) is not None


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_builders_own_clock_does_not_matter(
    hours: int, fake: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is off by hours. What it writes is right by the registry's, and so is what it reads."""
    right = builder(fake, "right", tmp_path)
    assert right.take(KEY) is None
    wrong = builder(fake, "wrong", tmp_path)
    now = time.time
    monkeypatch.setattr(claims, "time", SimpleNamespace(time=lambda: now() + hours * 3600))
    assert wrong.take(KEY) is not None
    right.release(KEY)
    assert wrong.take(KEY) is None
    monkeypatch.undo()
    other = right.take(KEY)
    assert other is not None
    left = (unix(other.until) or 0) - time.time()
    assert claims.LEASE - 60 < left < claims.LEASE + 60


def test_it_is_renewed_while_the_work_goes_on(fake: FakeRegistry, tmp_path: Path) -> None:
    tags = fake.held(REPOSITORY).tags
    with builder(fake, "one", tmp_path, lease=4) as one:
        one.take(KEY)
        seen = set()
        until(lambda: len(seen) == 5 or seen.add(tags[tag_of(KEY)]))  # more than one lease has passed
        two = builder(fake, "two", tmp_path)
        assert two.take(KEY) is not None
    assert two.take(KEY) is None  # given back at the end


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "application/vnd.other"},
        {"until": "tomorrow"},
        {"until": text_of(time.time() - 1)},
        {"until": text_of(time.time() + 2 * claims.LONGEST)},
        {"builder": "x" * 200},
        {"builder": "x\x1b[2J"},
    ],
)
def test_what_is_no_claim_keeps_nobody(said: dict[str, str], fake: FakeRegistry, tmp_path: Path) -> None:
    put(fake, tmp_path, **said)
    assert builder(fake, "one", tmp_path).take(KEY) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 5000, b'{"annotations": {}, "artifactType": 1}'])
def test_other_bytes_are_no_claim(data: bytes, fake: FakeRegistry, tmp_path: Path) -> None:
    held = fake.held(REPOSITORY)
    held.manifests[sha(data)] = ("application/json", data)
    held.tags[tag_of(KEY)] = sha(data)
    assert builder(fake, "one", tmp_path).take(KEY) is None
