"""Counting tokens in the child: the same as the library, or marked as an estimate."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tokenizers import Tokenizer

from reconciler.templates.renderer import Renderer
from tests.tiny_models import write_qwen2

CAPITALS = (Path(__file__).parents[2] / "examples/capitals/model/tokenizer.json").read_bytes()
TEXTS = (
    "",
    "What is the capital of France?",
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nYou are brief.<|im_end|>\n  two  spaces\t\tand tabs \n\n\nlines \r\n end  ",
    "I'll, you've; THEY'RE 12345 67 (x==y) && !=  {json: \"yes\"}",
    "<|im_start|<|im_end|>|>",
    "<|endoftext|><|endoftext|>",
)


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer(tokenizers=True) as one:
        yield one


@pytest.mark.parametrize("text", TEXTS)
def test_the_count_is_that_of_the_library(text: str, tmp_path: Path, renderer: Renderer) -> None:
    write_qwen2(tmp_path / "tiny")
    for data in (CAPITALS, (tmp_path / "tiny" / "tokenizer.json").read_bytes()):
        assert renderer.count(text, data) == len(
            Tokenizer.from_str(data.decode()).encode(text, add_special_tokens=False).ids
        )


def changed(**changes: Any) -> bytes:
    document = json.loads(CAPITALS)
    document["model"] |= changes.pop("model", {})
    return json.dumps(document | changes).encode()


@pytest.mark.parametrize(
    "tokenizer",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b'{"model": {"type": "BPE", "merges": 3}}',
        changed(model={"type": "Unigram"}),
        changed(model={"merges": [["a"], 3]}),
        changed(normalizer={"type": "Unheard"}),
        changed(added_tokens=[3]),
        b"[" * 100_000,
        b" " * (5 << 20),
    ],
)
def test_what_is_no_tokenizer_gives_an_estimate(tokenizer: bytes | None, renderer: Renderer) -> None:
    assert renderer.count("a" * 40, tokenizer) is None
    example = renderer.example("a" * 40, {}, tokenizer)
    assert (example.exact, example.tokens) == (False, 10)


def test_without_the_library_a_count_is_an_estimate() -> None:
    with Renderer() as renderer:  # whose child loads no tokenizers, as where there are none
        assert renderer.count("Paris", CAPITALS) is None


def test_other_letters_are_counted(renderer: Renderer) -> None:
    assert renderer.count("Grüße", CAPITALS)


SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


def test_a_pattern_that_never_ends_does() -> None:
    with Renderer(tokenizers=True) as renderer:
        renderer.count("a" * 40_000 + "b", changed(pre_tokenizer=SPLIT))
        assert renderer.count("Paris", CAPITALS)


@pytest.mark.slow
def test_a_long_word_does_not_take_long(renderer: Renderer) -> None:
    renderer.count("Paris", CAPITALS)
    assert renderer._child is not None
    child = psutil.Process(renderer._child.pid)
    before = child.cpu_times().user
    renderer.count("ab" * 10_000, CAPITALS)
    assert child.cpu_times().user - before < 10
