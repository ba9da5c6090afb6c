"""How long a prompt a candidate answers here, measured by `bench`: a model claims a context, and memory, time or the
runtime end it earlier. No gate is judged by it.

Prompts are doubled from 512 tokens up to what the claimed context holds. The next one is asked only if it is expected
to fit the time (what it costs grows with a power of its length, between the first and the second, as the last two did)
and half of the memory that is free.
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from reconciler.domain.errors import PermanentError
from reconciler.domain.measured import Answer, LongestPrompt, Measured, Numbers
from reconciler.domain.verdict import Verdict
from reconciler.gates.performance import characters_per_token, text_of
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate
from reconciler.host.memory import memory_now

FIRST = 512  # tokens
ANSWER_TOKENS = 2
ROOM = 64  # tokens of the context that are left to the template and the answer
TIME, MEMORY = "time", "memory"


@dataclass(frozen=True, kw_only=True)
class LongestPromptProbe(RuntimeGate):
    """`seconds` bound the answers of all prompts together."""

    name: ClassVar[str] = "longestPrompt"
    seconds: float

    def missing(self, numbers: Numbers) -> bool:
        return numbers.measured is None or numbers.measured.longest is None

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        yield from ()

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        with open(os.path.join(candidate.folder, "genai_config.json"), encoding="utf-8") as file:
            claimed: int = json.load(file)["model"]["context_length"]
        return {"longest": self._longest(candidate, claimed)}

    def _longest(self, candidate: RegisteredCandidate, claimed: int) -> LongestPrompt:
        per_token, most = characters_per_token(candidate), max(1, claimed - ROOM)
        length, answered, spent, power, last = min(FIRST, most), 0, 0.0, 1.2, 0.0
        while True:
            before = candidate.runtime.memory()
            try:
                answer = candidate.ask_as_user(text_of(round(length * per_token)), ANSWER_TOKENS)
            except PermanentError as error:
                return LongestPrompt(tokens=answered, claimed=claimed, limit=error.code)
            answered, took = answer.prompt_tokens, seconds_of(answer)
            spent += took
            if length >= most:
                return LongestPrompt(tokens=answered, claimed=claimed)
            more = min(2 * length, most) / length
            if last:
                power = min(2.0, max(1.0, math.log2(max(took, last) / last)) + 0.1)
            if spent + took * more**power > self.seconds:
                return LongestPrompt(tokens=answered, claimed=claimed, limit=TIME)
            if (candidate.runtime.memory() - before) * more > memory_now()[1] / 2:
                return LongestPrompt(tokens=answered, claimed=claimed, limit=MEMORY)
            length, last = min(2 * length, most), took


def seconds_of(answer: Answer) -> float:
    """From the request to its last token."""
    rest = answer.completion_tokens / answer.tokens_per_second if answer.tokens_per_second else 0.0
    return answer.first_token_seconds + rest
