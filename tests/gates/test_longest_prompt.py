"""The longest prompt that is answered: found within time and memory, and what ends the search is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.errors import PermanentError
from reconciler.domain.measured import Answer, LongestPrompt, Measured
from reconciler.gates import longest_prompt
from reconciler.gates.longest_prompt import LongestPromptProbe
from reconciler.gates.runtime import RegisteredCandidate

CLAIMED = 8192
GIB = 1 << 30


class Runtime:
    """Four characters are a token; an answer takes a second for each 1,000 tokens of its prompt and holds a megabyte
    for each. It fails beyond `fails` tokens."""

    def __init__(self, fails: int = 1 << 30, per_token: int = 1 << 20) -> None:
        self.asked: list[int] = []
        self._fails, self._per_token, self._held = fails, per_token, 0

    def ask(self, name: str, messages: Any, max_tokens: int, temperature: float | None = None) -> Answer:
        tokens = len(messages[0][1]) // 4 + 10
        self.asked.append(tokens)
        if tokens > self._fails:
            raise PermanentError("it is gone", code="RuntimeDied")
        self._held = max(self._held, tokens * self._per_token)
        return Answer(
            text="x",
            prompt_tokens=tokens,
            completion_tokens=1,
            load_seconds=0.0,
            first_token_seconds=tokens / 1000,
            tokens_per_second=0.0,
            finish_reason="length",
        )

    def memory(self) -> int:
        return self._held


def found(runtime: Any, folder: Path, seconds: float, monkeypatch: pytest.MonkeyPatch, free: int) -> LongestPrompt:
    (folder / "genai_config.json").write_text(json.dumps({"model": {"context_length": CLAIMED}}))
    monkeypatch.setattr(longest_prompt, "memory_now", lambda: (2 * free, free))
    candidate = RegisteredCandidate(runtime=runtime, folder=str(folder), name="x:1")
    measured = LongestPromptProbe(seconds=seconds).measure(candidate, Measured(release="", build_key=""))
    longest: LongestPrompt = measured["longest"]
    return longest


@pytest.mark.parametrize(
    ("runtime", "seconds", "free", "tokens", "limit"),
    [
        (Runtime(), 60.0, 64 * GIB, CLAIMED - longest_prompt.ROOM, ""),
        (Runtime(), 5.0, 64 * GIB, 2048, "time"),
        (Runtime(), 60.0, 3 * GIB, 2048, "memory"),
        (Runtime(fails=3000), 60.0, 64 * GIB, 2048, "RuntimeDied"),
        (Runtime(fails=300), 60.0, 64 * GIB, 0, "RuntimeDied"),
    ],
)
def test_it_ends_where_something_ends_it(
    runtime: Any, seconds: float, free: int, tokens: int, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = found(runtime, tmp_path, seconds, monkeypatch, free)
    assert (longest.claimed, longest.limit) == (CLAIMED, limit)
    assert tokens <= longest.tokens <= tokens + 16
    assert sum(runtime.asked) / 1000 < 2 * seconds
    assert f"{longest.tokens} of the {CLAIMED} tokens" in str(longest)
