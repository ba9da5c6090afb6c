"""The decoding gate: a model that reads a text at once and one that goes on token by token find the same.

The runtime computes the two in different ways, and keeps what it has read in a cache. Where a model changes its ways
with the length (an original context, a sliding window) they can come apart, and every answer past that length is wrong
while a check of whole prompts sees nothing. So the text is read both ways, on the very files that will be served,
across these lengths (`stretches`), in the runtime that serves.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from reconciler.domain import digest
from reconciler.domain.accepts import DIVERGENCE, About, whole
from reconciler.domain.measured import TEXTS_DIGEST, Decoded, Measured, Numbers
from reconciler.domain.targets.precisions import of_precision
from reconciler.domain.verdict import Verdict, at_most, inconclusive
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate

# Measured (docs/fidelity.md). Right ones lie below 1e-8 at fp32 and 3e-6 at fp16. At int8 and int4 the runtime rounds
# what it multiplies, and a rounding that falls otherwise costs a token up to 2 nats, but half of all tokens less than
# 8e-4; that is why the median counts. A window that is one token off costs 0.03, a cache that is rounded 0.001.
# bf16 was never run: with eight times coarser numbers than fp16 it is taken to cost 64 times as much.
DEFAULT_BARS = {"fp32": 1e-7, "fp16": 1e-4, "bf16": 3e-3, "int8": 3e-3, "int4": 3e-3}

# How many tokens are read, by what it costs: one that is read at once counts one, one by itself three.
WORK = 1 << 37  # tokens times bytes of weights: 160 tokens at half a billion parameters and int4, 2 CPU seconds
LOGITS = 1 << 25  # numbers: of a whole prompt they are in memory at once
USUAL, LEAST = 300, 48  # tokens of the first stretch
PROMPT = 16  # tokens that are read at once at its beginning, at least
BEFORE, AFTER = 8, 16  # tokens that are read one by one, on either side of a length at which something changes
METHOD = digest.of_value((1, TEXTS_DIGEST))


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """`prompt` tokens are read at once, then one by one up to `length`. What is found after each of these is compared
    with a reading at once: up to each of `cuts`, beyond which the model computes otherwise, and up to the end. Each
    of these parts is judged by itself."""

    prompt: int
    length: int
    cuts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DecodingGate(RuntimeGate):
    """Reading a text at once and token by token agree in the runtime. The bar left out is the default of the
    precision."""

    name: ClassVar[str] = "decoding"
    about: ClassVar[str] = "Token by token the runtime finds what it finds for the whole text. Always there."
    always: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = ("reference",)

    max_median_kl: Annotated[
        float | None, About("Most KL divergence of a token that is read by itself, in nats: the median."), DIVERGENCE
    ] = None
    tokens: Annotated[
        int, About("How long the texts are that are read. Left out: as long as a budget allows."), whole(32, 8192)
    ] = 0

    def missing(self, numbers: Numbers) -> bool:
        found = self._found(numbers)
        return found is None or found.asked < self.tokens

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        """And what the reference gate judges: the same reading serves both."""
        decoded, referenced = candidate.runtime.decode(
            candidate.name, candidate.folder, candidate.boundaries, self.tokens, candidate.reference
        )
        return {"decoded": decoded, "referenced": referenced}

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        found = self._found(numbers)
        if found is None:
            yield inconclusive(self.name, "medianKL")
            return
        bar = of_precision(DEFAULT_BARS, numbers.precision) if self.max_median_kl is None else self.max_median_kl
        where = (
            f"{found.positions} tokens one by one within {found.longest:,} against the whole text: median divergence"
        )
        yield at_most(self.name, "medianKL", found.median_kl, bar, where)
        if found.unmeasured:
            message = f"not measured: {', '.join(found.unmeasured)} (too far for the budget)"
            yield inconclusive(self.name, "boundaries", message)

    def shown_fields(self, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
        """A bar that is not declared comes from the precision."""
        default = " and ".join(f"{of_precision(DEFAULT_BARS, precision):g} ({precision})" for precision in precisions)
        yield "maxMedianKL", f"{default}, the default" if self.max_median_kl is None else self.max_median_kl
        yield "tokens", self.tokens or "as many as the budget allows"

    def _found(self, numbers: Numbers) -> Decoded | None:
        found = numbers.measured.decoded if numbers.measured else None
        # guard: gate: another method is no decoding
        return found if found is not None and found.method == METHOD else None


def stretches(
    weights: int, vocabulary: int, context: int, boundaries: Mapping[str, int], asked: int = 0
) -> tuple[list[Stretch], list[str]]:
    """What is read of a model of so many bytes, and which of its boundaries lie too far. `boundaries`: after how many
    tokens it computes otherwise, by what that is. What is `asked` for costs what it costs."""
    units, most = max(WORK // max(1, weights), 4 * asked), min(max(asked, LOGITS // vocabulary), context - 1)
    length = max(min(asked or USUAL, most, max(LEAST, units // 3)), 2)
    single = max(1, min(length - PROMPT, max(PROMPT, (units - 2 * length) // 2)))
    found, unmeasured = [_stretch(length - single, length, boundaries)], []
    for name, boundary in boundaries.items():
        end = min(boundary + AFTER, context - 1)
        if boundary >= end or (found[0].prompt < boundary and end <= length):
            continue
        if end > most or 3 * end > units:
            unmeasured.append(f"{name} of {boundary:,} tokens")
        else:
            found.append(_stretch(max(1, boundary - BEFORE), end, boundaries))
    return found, unmeasured


def _stretch(prompt: int, length: int, boundaries: Mapping[str, int]) -> Stretch:
    cuts = sorted({boundary for boundary in boundaries.values() if prompt < boundary < length})
    return Stretch(prompt=prompt, length=length, cuts=tuple(cuts))
