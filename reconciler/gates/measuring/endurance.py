"""Many requests in a row, short and long in turn: does memory grow, do answers come later? And inputs that no client
should send: an error is fine, the end of the runtime is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from reconciler.domain.bars import EnduranceGate
from reconciler.domain.errors import ReconcilerError
from reconciler.domain.measured import Endured
from reconciler.gates.measuring.runtime import Runtime
from reconciler.gates.measuring.speed import text_of

LENGTHS = (40, 120, 240, 60)  # characters, in turn; each quarter of the requests sees all of them
FEWEST = 3  # requests of one length in a quarter, so that one that was disturbed says nothing of it
# Seconds that a request takes at least, as far as drift goes: nobody notices less, and beside others it is noise. Where
# two cores had nine times their work, 13 of 40 sound runs over answers of 7 ms had drifted more than twice; so, none.
LEAST = 0.02
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


def endure(
    runtime: Runtime, name: str, gate: EnduranceGate, clock: Callable[[], float] = time.perf_counter
) -> Endured:
    for number in range(WARM_UP):
        _request(runtime, name, number, clock)
    before = runtime.memory()
    seconds = [_request(runtime, name, number, clock) for number in range(gate.requests)]
    after = runtime.memory()
    return Endured(
        requests=gate.requests,
        growth_bytes=after - before if before and after else None,
        drift=drift_of(seconds),
        crashed=_crashed(runtime, name) if gate.bad_input else None,
    )


def drift_of(seconds: Sequence[float]) -> float:
    """The last quarter over the first, of all prompts together or of the prompt length that drifts most."""
    kinds = len(LENGTHS)
    quarter = max(kinds, len(seconds) // 4 // kinds * kinds)
    whole = len(seconds) // kinds * kinds
    first, last = seconds[:quarter], seconds[whole - quarter : whole]
    pairs = [(first, last)]
    if quarter >= FEWEST * kinds:
        pairs += [(first[kind::kinds], last[kind::kinds]) for kind in range(kinds)]
    return max(max(median(late), LEAST) / max(median(early), LEAST) for early, late in pairs)


def _request(runtime: Runtime, name: str, number: int, clock: Callable[[], float]) -> float:
    started = clock()
    text = text_of(LENGTHS[number % len(LENGTHS)])
    runtime.ask(name, (("user", text),), ANSWER_TOKENS, temperature=0.0)
    return clock() - started


def _crashed(runtime: Runtime, name: str) -> tuple[str, ...]:
    """The runtime comes back for the next one by itself."""
    return tuple(kind for kind, text in BAD_INPUTS.items() if _ends_the_runtime(runtime, name, text))


def _ends_the_runtime(runtime: Runtime, name: str, text: str) -> bool:
    try:
        runtime.ask(name, (("user", text),), ANSWER_TOKENS, temperature=0.0)
    except ReconcilerError as error:  # killed for want of memory counts too: that input cost it
        return error.code in _CRASHES
    return False
