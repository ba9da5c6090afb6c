"""The question of `ask` may stand before its options, between them, and after them."""

import struct
from pathlib import Path

import pytest

from reconciler.cli.verbs.ask import not_heard, read_recording
from reconciler.domain.errors import UsageError
from tests.machine import TestMachine


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["x", "Hello?"], 1, "x is not served here"),
        (["x", "--max-tokens", "5", "Hello?"], 1, "x is not served here"),
        (["--max-tokens", "5", "x", "--temperature", "0", "Hello?"], 1, "x is not served here"),
        (["x", "--audio", "a.wav", "--language", "sl"], 1, "x is not served here"),
        (["--audio", "a.wav", "x"], 1, "x is not served here"),
        (["x", "Hello?"], 1, "hint: nothing is served here yet: `reconciler apply` serves"),
        (["x"], 64, "the following arguments are required: PROMPT"),
    ],
)
def test_any_order(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "fleet").mkdir()
    done = TestMachine(folder=tmp_path).run("ask", *arguments)
    assert (done.code, said in done.err) == (code, True), done.err


def test_a_recording_that_is_none_is_told_what_one_is(tmp_path: Path) -> None:
    slow = b"RIFF----WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16) + b"data\x08\0\0\0--------"
    for data, said in ((b"hello", "a WAV file of plain samples"), (slow, "16,000 samples a second, got 8,000")):
        refused = not_heard("a.wav", data)
        assert said in str(refused)
        assert "ffmpeg" in refused.hint
    (tmp_path / "empty.wav").touch()
    for name, said in (("empty.wav", "got an empty file"), ("none.wav", "No such file")):
        with pytest.raises(UsageError, match=said) as caught:
            read_recording(str(tmp_path / name))
        assert caught.value.hint
