"""A download from Foundry's catalog that is cut: what came does not come again, and is charged once. The catalog is one
on loopback, and the SDK is the real one."""

import contextlib
import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.domain.errors import Paused
from reconciler.domain.machine.bandwidth import Meter
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.sources.catalog import partial
from reconciler.sources.catalog.partial import held_in, held_now
from reconciler.sources.catalog.source import Catalog, CatalogAccess
from reconciler.sources.catalog.worker import Reached
from reconciler.sources.download import Download
from tests.catalog_server import CatalogServer
from tests.extras import needs

MIB = 1 << 20
# The SDK writes down what came every 16 MiB, and brings up to 32 pieces of 2 MiB side by side.
AGAIN = (16 + 64) * MIB


class Charging(Meter):
    """Pauses once so much has been charged."""

    def __init__(self, most: int) -> None:
        self.charged, self._most = 0, most

    def moved(self, origin: str, count: int) -> None:
        self.charged += count
        if self.charged > self._most:
            raise Paused("enough for now", delay=0)


@pytest.mark.slow
def test_one_that_is_cut_goes_on_and_is_charged_once(tmp_path: Path) -> None:
    needs("foundry_local_sdk", "foundry")
    files = {"genai_config.json": b"{}", "model.onnx": bytes(MIB), "model.onnx.data": bytes(160 * MIB)}
    total, folder = sum(map(len, files.values())), tmp_path / "partial"
    (tmp_path / "model").mkdir()
    folder.mkdir()
    for name, data in files.items():
        (tmp_path / "model" / name).write_bytes(data)
    locked = tuple(
        LockedFile(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in files.items()
    )
    source = LockedSource(kind="catalog", repo="tiny", revision="3", ready=True, files=locked)
    with CatalogServer(folder=tmp_path / "certificates").running() as server:
        server.give("tiny", 3, tmp_path / "model").size = 0  # the lock knows it

        def download(meter: Charging) -> int:
            server.parts.clear()
            access = CatalogAccess.of(server.environment)
            with Catalog(access, home=str(tmp_path / "home"), log=str(tmp_path / "logs" / "log")) as catalog:
                Download(catalog, source, str(folder), lambda fraction, text: None, meter).run()
            return sum(length for _, length in server.parts)  # a request that was cut comes late, and again

        first, second = Charging(120 * MIB), Charging(total)
        with pytest.raises(Paused):
            download(first)
        here = held_in(str(folder / ".foundry"))
        assert 120 * MIB + 2 * MIB - AGAIN <= here <= first.charged
        came = download(second)
    assert {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()} == {
        name: len(data) for name, data in files.items()
    }
    assert came == pytest.approx(total - here, abs=2 * MIB)
    assert second.charged == pytest.approx(total - here, abs=2 * MIB)


# What was here; each count that the SDK tells of, beside what lies there then; what is passed on, and what is charged.
COUNTS: dict[str, tuple[int, tuple[tuple[int, int | None], ...], list[int], int]] = {
    "nothing was here": (0, ((0, 0), (2, 0), (6, 0), (4, 0), (6, 0)), [0, 2, 6, 6, 6], 6),
    "it goes on": (10, ((0, 10), (10, 10), (30, 10), (20, 10), (40, 40)), [10, 10, 30, 30, 40], 30),
    "it goes on, file by file": (100, ((0, 100), (1, 100), (102, 100), (104, 100)), [100, 100, 102, 104], 4),
    "it begins anew": (100, ((0, 100), (1, 100), (3, 1), (2, 1), (5, 1)), [100, 100, 1, 3, 3, 5], 4),
    "it begins a file anew": (100, ((0, 100), (40, 100), (42, 60), (62, 60)), [100, 100, 60, 60, 62], 2),
    "what lies there cannot be counted": (100, ((0, 100), (40, None), (42, 60), (62, 60)), [100, 100, 60, 60, 62], 2),
}


class Telling:
    """A source whose download tells of these counts."""

    def __init__(self, here: int, counts: tuple[tuple[int, int | None], ...]) -> None:
        self._here, self._counts, self.told = here, counts, list[int]()

    def held(self, target: str) -> int:
        return self._here

    def download(self, source: object, file: object, target: str, on_bytes: Callable[[int], None], piece: int) -> None:
        def tell(count: int) -> None:
            self.told.append(count)
            on_bytes(count)

        lies: list[int | None] = [self._here]
        reached = Reached(self._here, lambda: lies[-1], tell)
        for count, held in self._counts:
            lies.append(held)
            reached(count)
        Path(target).write_bytes(b"x")


@pytest.mark.parametrize("case", COUNTS)
def test_each_count_is_passed_on_and_what_came_is_charged(case: str, tmp_path: Path) -> None:
    """Without one nobody knows that it lives, and no rate or budget acts."""
    here, counts, expected, charged = COUNTS[case]
    file = LockedFile(path="model.onnx", size=1, sha256=hashlib.sha256(b"x").hexdigest())
    source = LockedSource(kind="catalog", repo="tiny", revision="3", ready=True, files=(file,))
    telling, meter = Telling(here, counts), Charging(1000)
    Download(telling, source, str(tmp_path), lambda fraction, text: None, meter).run()  # type: ignore[arg-type]
    assert (telling.told, meter.charged) == (expected, charged)


def state(size: int = 100, came: int = 3, magic: bytes = b"FLDS", version: int = 1) -> bytes:
    return struct.pack("<4sBqiiiii", magic, version, size, 20, 5, 0, came - 1, came) + bytes(20)


# What is here, and what that is while the SDK writes.
STATES: dict[str, tuple[Callable[[], bytes] | None, int, int | None]] = {
    "whole": (None, 100, 100),
    "cut": (state, 60, 60),
    "nothing yet": (lambda: state(came=0), 0, 0),
    "of another size": (lambda: state(size=99), 0, 0),
    "more than there are": (lambda: state(came=6), 0, 0),
    "of another form": (lambda: state(magic=b"ELSE"), 0, 0),
    "of a later form": (lambda: state(version=2), 0, 0),
    "cut off": (lambda: state()[:20], 0, None),
    "empty": (lambda: b"", 0, None),
}


@pytest.mark.parametrize("case", STATES)
def test_what_is_here_of_a_model(tmp_path: Path, case: str) -> None:
    make, here, now = STATES[case]
    inside = tmp_path / "Microsoft" / "tiny-3"
    inside.mkdir(parents=True)
    (inside / "model.onnx.data").write_bytes(bytes(100))
    (inside / ".download.lock").write_bytes(bytes(7))
    (tmp_path / "foundry.modelinfo.json").write_bytes(bytes(900))
    if make is not None:
        (inside / "model.onnx.data.dlstate").write_bytes(make())
    assert (held_in(str(tmp_path)), held_now(str(tmp_path))) == (here, now)
    assert (held_in(str(tmp_path / "nowhere")), held_now(str(tmp_path / "nowhere"))) == (0, 0)


def denied(path: str, mode: str) -> None:
    """As Windows says of a file that is being deleted."""
    raise PermissionError(13, "Permission denied", path)


# What the SDK does once a folder was listed: the folder below Microsoft, what happens, and how much is here then.
GOES: dict[str, tuple[str, Callable[[Path, pytest.MonkeyPatch], object], int | None]] = {
    "nothing": ("tiny-3", lambda inside, patch: None, 160),
    "a file goes": ("tiny-3", lambda inside, patch: (inside / "model.onnx").unlink(), None),
    "a file is whole": ("tiny-3", lambda inside, patch: (inside / "model.onnx.data.dlstate").unlink(), 200),
    "the model goes": ("", lambda inside, patch: inside.rename(inside.parents[2] / "gone"), None),
    "a file is held": ("tiny-3", lambda inside, patch: patch.setattr(partial, "open", denied, raising=False), None),
}


@pytest.mark.parametrize("case", GOES)
def test_the_sdk_writes_and_deletes_while_it_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """An exception would end its download, and fewer bytes would be a new beginning."""
    listed, act, here = GOES[case]
    inside = tmp_path / "Microsoft" / "tiny-3"
    inside.mkdir(parents=True)
    for name in ("model.onnx", "model.onnx.data"):
        (inside / name).write_bytes(bytes(100))
    (inside / "model.onnx.data.dlstate").write_bytes(state())
    usual = os.scandir

    @contextlib.contextmanager
    def scandir(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with usual(path) as entries:
            yield list(entries)
        if Path(path) == inside.parent / listed:
            act(inside, monkeypatch)

    monkeypatch.setattr(os, "scandir", scandir)
    found = held_now(str(tmp_path))
    monkeypatch.undo()
    assert found == here
