"""The question of `ask` may stand before its options, between them, and after them."""

from pathlib import Path

import pytest

from tests.machine import TestMachine


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["x", "Hello?"], 1, "x is not served here"),
        (["x", "--max-tokens", "5", "Hello?"], 1, "x is not served here"),
        (["--max-tokens", "5", "x", "--temperature", "0", "Hello?"], 1, "x is not served here"),
        (["x", "--audio", "a.wav", "--language", "sl"], 1, "x is not served here"),
        (["--audio", "a.wav", "x"], 1, "x is not served here"),
        (["x"], 64, "the following arguments are required: PROMPT"),
    ],
)
def test_any_order(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "fleet").mkdir()
    done = TestMachine(folder=tmp_path).run("ask", *arguments)
    assert (done.code, said in done.err) == (code, True), done.err
