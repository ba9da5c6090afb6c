"""Counting tokens without the library: the same as the library, or said to be an estimate."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from reconciler.templates.token_count import count_tokens
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


@pytest.mark.parametrize("text", TEXTS)
def test_the_count_is_that_of_the_library(text: str, tmp_path: Path) -> None:
    write_qwen2(tmp_path / "tiny")
    for data in (CAPITALS, (tmp_path / "tiny" / "tokenizer.json").read_bytes()):
        told = count_tokens(text, data)
        assert told.exact
        assert told.count == len(Tokenizer.from_str(data.decode()).encode(text, add_special_tokens=False).ids)


def changed(**changes: Any) -> bytes:
    document = json.loads(CAPITALS)
    document["model"] |= changes.pop("model", {})
    return json.dumps(document | changes).encode()


@pytest.mark.parametrize(
    "tokenizer",
    [
        None,
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"model": {"type": "BPE", "merges": 3}}',
        changed(model={"type": "Unigram"}),
        changed(model={"byte_fallback": True}),
        changed(model={"merges": [["a"], 3]}),
        changed(normalizer={"type": "Lowercase"}),
        changed(added_tokens=[{"content": "a", "lstrip": True}]),
        changed(added_tokens=[3]),
        changed(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [
                    {
                        "type": "Split",
                        "pattern": {"Regex": "(a+)+$"},
                        "behavior": "Isolated",
                        "invert": False,
                    },
                    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
                ],
            }
        ),
    ],
)
def test_any_other_tokenizer_gives_an_estimate(tokenizer: bytes | None) -> None:
    told = count_tokens("a" * 40, tokenizer)
    assert (told.exact, told.count) == (False, 10)


def test_other_letters_are_an_estimate() -> None:
    assert not count_tokens("Grüße", CAPITALS).exact


def test_a_long_word_does_not_take_long() -> None:
    began = time.process_time()
    assert not count_tokens("ab" * 10_000, CAPITALS).exact
    assert time.process_time() - began < 1
