"""Many requests in a row, short and long in turn: does memory grow, do answers come later? And inputs that no client
should send: an error is fine, the end of the runtime is not."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from reconciler.core.errors import ReconcilerError
from reconciler.core.measured import Endured
from reconciler.verification.speed import text_of

if TYPE_CHECKING:
    from reconciler.core.bars import EnduranceGate
    from reconciler.verification.rehearsal import Runtime

LENGTHS = (40, 120, 240, 60)  # characters, in turn; each quarter of the requests sees all of them
ANSWER_TOKENS = 8
WARM_UP = 4

BAD_INPUTS = {
    "empty": "",
    "too long": "word " * 200_000,
    "control characters": "\x00\x01\x1b[2J\x7f",
    "direction and last code point": "\u202e\ufffd\U0010ffff",
    "half a surrogate pair": "\ud800",
}

_CRASHES = frozenset({"RuntimeDied", "RuntimeHung"})


def endure(runtime: Runtime, name: str, gate: EnduranceGate) -> Endured:
    for number in range(WARM_UP):
        _request(runtime, name, number)
    before = runtime.memory()
    seconds = [_request(runtime, name, number) for number in range(gate.requests)]
    growth = runtime.memory() - before
    quarter = max(len(LENGTHS), len(seconds) // 4 // len(LENGTHS) * len(LENGTHS))
    first, last = (
        seconds[:quarter],
        seconds[len(seconds) // len(LENGTHS) * len(LENGTHS) - quarter :][:quarter],
    )
    return Endured(
        requests=gate.requests,
        growth_bytes=growth,
        drift=median(last) / median(first),
        crashed=_crashed(runtime, name) if gate.bad_input else None,
    )


def _request(runtime: Runtime, name: str, number: int) -> float:
    started = time.perf_counter()
    text = text_of(LENGTHS[number % len(LENGTHS)])
    runtime.ask(name, (("user", text),), ANSWER_TOKENS, temperature=0.0)
    return time.perf_counter() - started


def _crashed(runtime: Runtime, name: str) -> tuple[str, ...]:
    """The runtime comes back for the next one by itself."""
    return tuple(kind for kind, text in BAD_INPUTS.items() if _ends_the_runtime(runtime, name, text))


def _ends_the_runtime(runtime: Runtime, name: str, text: str) -> bool:
    try:
        runtime.ask(name, (("user", text),), ANSWER_TOKENS, temperature=0.0)
    except ReconcilerError as error:  # killed for want of memory counts too: that input cost it
        return error.code in _CRASHES
    return False
