"""What `ask` shows of an answer."""

import argparse

import pytest

from reconciler.cli.verbs import ask
from reconciler.domain.measured import Answer


@pytest.mark.parametrize(("text", "told"), [("Ljubljana.", False), ("", True), (" \n", True)])
def test_an_empty_answer_is_told(capsys: pytest.CaptureFixture[str], text: str, told: bool) -> None:
    answer = Answer(
        text=text,
        prompt_tokens=16,
        completion_tokens=len(text),
        load_seconds=1.0,
        first_token_seconds=0.1,
        tokens_per_second=9.0,
        finish_reason="stop",
    )
    ask._show("capitals-int4:1", answer, argparse.Namespace(output="text", quiet=False))
    assert ("capitals-int4:1: the answer is empty" in capsys.readouterr().err) == told
