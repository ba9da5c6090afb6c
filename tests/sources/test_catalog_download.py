"""A download from Foundry's catalog that is cut: what came does not come again, and is charged once. The catalog is one
on loopback, and the SDK is the real one."""

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.domain.errors import Paused
from reconciler.domain.machine.bandwidth import Meter
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.sources.catalog.partial import held_in
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


# What was here; each count that the SDK tells of, beside what lies there then; what is passed on.
COUNTS: dict[str, tuple[int, tuple[tuple[int, int], ...], list[int]]] = {
    "nothing was here": (0, ((0, 0), (2, 0), (6, 0), (4, 0), (6, 0)), [0, 2, 6, 6, 6]),
    "it goes on": (10, ((0, 10), (10, 10), (30, 10), (20, 10), (40, 40)), [10, 10, 30, 30, 40]),
    "it goes on, file by file": (100, ((0, 100), (1, 100), (102, 100), (104, 100)), [100, 100, 102, 104]),
    "it begins anew": (100, ((0, 100), (1, 100), (3, 1), (2, 1), (5, 1)), [100, 100, 3, 3, 5]),
    "it begins a file anew": (100, ((0, 100), (40, 100), (42, 60), (62, 60)), [100, 100, 60, 62]),
}


@pytest.mark.parametrize("case", COUNTS)
def test_each_count_is_passed_on(case: str) -> None:
    """Without one nobody knows that it lives, and no rate or budget acts."""
    here, counts, expected = COUNTS[case]
    told, lies = list[int](), [here]
    reached = Reached(here, lambda: lies[-1], told.append)
    for count, held in counts:
        lies.append(held)
        reached(count)
    assert told == expected


def state(size: int = 100, came: int = 3, magic: bytes = b"FLDS", version: int = 1) -> bytes:
    return struct.pack("<4sBqiiiii", magic, version, size, 20, 5, 0, came - 1, came) + bytes(20)


STATES: dict[str, tuple[Callable[[], bytes] | None, int]] = {
    "whole": (None, 100),
    "cut": (state, 60),
    "nothing yet": (lambda: state(came=0), 0),
    "of another size": (lambda: state(size=99), 0),
    "more than there are": (lambda: state(came=6), 0),
    "of another form": (lambda: state(magic=b"ELSE"), 0),
    "of a later form": (lambda: state(version=2), 0),
    "cut off": (lambda: state()[:20], 0),
    "empty": (lambda: b"", 0),
}


@pytest.mark.parametrize("case", STATES)
def test_what_is_here_of_a_model(tmp_path: Path, case: str) -> None:
    make, here = STATES[case]
    inside = tmp_path / "Microsoft" / "tiny-3"
    inside.mkdir(parents=True)
    (inside / "model.onnx.data").write_bytes(bytes(100))
    (inside / ".download.lock").write_bytes(bytes(7))
    (tmp_path / "foundry.modelinfo.json").write_bytes(bytes(900))
    if make is not None:
        (inside / "model.onnx.data.dlstate").write_bytes(make())
    assert held_in(str(tmp_path)) == here
    assert held_in(str(tmp_path / "nowhere")) == 0
