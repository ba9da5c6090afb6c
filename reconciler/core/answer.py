"""What a model said, and what a rehearsal measured. Numbers only: whether they are good enough is for a
gate to say."""

from __future__ import annotations

from reconciler.core.value import value


@value
class Answer:
    """One reply of the runtime. Times are in seconds; `first_token_seconds` counts from the request.

    `finish_reason` is `stop` when the model ended by itself, `length` when `max_tokens` cut it.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    load_seconds: float
    first_token_seconds: float
    tokens_per_second: float
    finish_reason: str


@value
class Measurements:
    """What one candidate cost in the real runtime. `peak_memory_bytes` is that of the process that loaded
    it, 0 where the platform does not tell. `takes_system` is false when the template refuses a system
    message on purpose. `runtime` maps package to version: the very libraries that answered."""

    load_seconds: float
    first_token_seconds: float
    tokens_per_second: float
    prompt_tokens: int
    completion_tokens: int
    peak_memory_bytes: int
    takes_system: bool
    runtime: dict[str, str]
