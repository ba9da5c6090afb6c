"""How fast a candidate answers at given prompt lengths: the median of a few tries, after one that warms up."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from reconciler.domain.errors import PermanentError
from reconciler.domain.measured import Answer, Speed
from reconciler.gates.measuring.runtime import Runtime

WORDS = "The harbour was quiet before sunrise, and a single lamp moved along the pier. "
TRIES = 5  # of which two may be disturbed
ANSWER_TOKENS = 24

_SAMPLE = 400  # characters that are enough to learn how many make a token


def time_answers(runtime: Runtime, name: str, lengths: Sequence[int]) -> tuple[Speed, ...]:
    """A length that the model's context cannot hold has 0 prompt tokens: there is nothing to judge."""
    per_token = characters_per_token(runtime, name)
    return tuple(_time(runtime, name, length, per_token) for length in lengths)


def text_of(characters: int) -> str:
    return (WORDS * (characters // len(WORDS) + 1))[: max(1, characters)]


def characters_per_token(runtime: Runtime, name: str) -> float:
    """Of the text alone: the template's own tokens are the difference of two prompts' constant part."""
    short = _ask(runtime, name, text_of(_SAMPLE // 2), 1).prompt_tokens
    long = _ask(runtime, name, text_of(_SAMPLE), 1).prompt_tokens
    return (_SAMPLE // 2) / max(1, long - short)


def _time(runtime: Runtime, name: str, length: int, per_token: float) -> Speed:
    text = text_of(round(length * per_token))
    try:
        _ask(runtime, name, text, 2)
        tries = [_ask(runtime, name, text, ANSWER_TOKENS) for _ in range(TRIES)]
    except PermanentError as error:
        if error.code != "PromptTooLong":
            raise
        return Speed(wanted_tokens=length, prompt_tokens=0, first_token_seconds=0.0, tokens_per_second=0.0)
    return Speed(
        wanted_tokens=length,
        prompt_tokens=tries[0].prompt_tokens,
        first_token_seconds=median(one.first_token_seconds for one in tries),
        tokens_per_second=median(one.tokens_per_second for one in tries),
    )


def _ask(runtime: Runtime, name: str, text: str, tokens: int) -> Answer:
    return runtime.ask(name, (("user", text),), tokens, temperature=0.0)
