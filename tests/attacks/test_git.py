"""A git server, or whoever can push to it, that means us harm."""

import hashlib
import shutil
import struct
import sys
import zlib
from pathlib import Path

import pytest

from reconciler.sources.git import runner as git_runner
from reconciler.sources.git.runner import Credentials
from tests.git_server import Repository, Server, certificate
from tests.sources.test_git_source import Machine, names, warned
from tests.trust import NIGHTLY, record

UNIT = 1 << 16  # bytes that one byte of a delta copies
BOMB = (1 << 30) if NIGHTLY else (96 << 20)


def _size(number: int) -> bytes:
    """As deltas write it: seven bits a byte, the lowest first."""
    said = bytearray()
    while number > 0x7F:
        said.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*said, number])


def _object(kind: int, size: int, body: bytes) -> bytes:
    first, rest = kind << 4 | size & 0xF, size >> 4
    head = bytes([first | 0x80]) + _size(rest) if rest else bytes([first])
    return head + body


def bomb(size: int) -> tuple[bytes, str]:
    """A pack of some hundred bytes whose second object has `size`: one byte of the delta copies 64 KiB."""
    base = bytes(UNIT)
    first = _object(3, UNIT, zlib.compress(base, 9))
    delta = _size(UNIT) + _size(size) + b"\x80" * (size // UNIT)
    distance = len(first)
    offset = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        offset.insert(0, distance & 0x7F | 0x80)
    second = _object(6, len(delta), bytes(offset) + zlib.compress(delta, 9))
    pack = b"PACK" + struct.pack(">II", 2, 2) + first + second
    named = hashlib.sha1(b"blob %d\0" % size)
    for _ in range(size // UNIT):
        named.update(base)
    return pack + hashlib.sha1(pack).digest(), named.hexdigest()


@pytest.fixture
def fleet(tmp_path: Path, capitals: Path) -> Repository:
    one = Repository(tmp_path / "fleet")
    shutil.copytree(capitals, one.folder / "model")
    one.model("one")
    one.commit()
    return one


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux bounds a process from outside")
def test_a_pack_of_some_bytes_that_inflates_to_a_gibibyte(
    fleet: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = certificate(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(held))
    server = Server(tmp_path, held, "x-access-token", "a-token-of-a-test")
    machine = Machine(tmp_path / "root", f"{server.url}/fleet/.git")
    machine.credentials = Credentials(token="a-token-of-a-test")
    pack, blob = bomb(BOMB)
    assert len(pack) < 10_000
    with server.running():
        assert names(machine.follow()) == ["one"]
        fleet.git("index-pack", "--stdin", "--fix-thin", said=pack)
        fleet.place("100644", "model/base.bin", fleet.blob(bytes(UNIT)))  # or the server sends it whole
        fleet.place("100644", "model/extra.bin", blob)
        fleet.commit_index()
        monkeypatch.setattr(git_runner, "MEMORY", BOMB // 2)
        followed = machine.follow()
    assert names(followed) == ["one"]
    assert warned(followed) == ["Stale"]
    assert "index-pack" in followed.parsed.warnings[0].message
    record("attacks", f"a pack of {len(pack)} bytes for {BOMB >> 20} MiB held")
