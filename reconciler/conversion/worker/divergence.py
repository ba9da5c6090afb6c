"""How far two sets of logits are apart, summed over places. Logits of a large vocabulary take 600 KB a place, so they
are widened to double precision a few at a time."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from reconciler.backends.logits import log_softmax
from reconciler.domain.measured import WORST

AT_ONCE = 1 << 22  # numbers


class Divergence:
    """Of `found` from `expected`, which are shaped (places, vocabulary). `found` may come in pieces; `following` is the
    token after each place, -1 where there is none. `look` gets the first place of some, and what was expected and found
    there, as logarithms of probabilities."""

    def __init__(
        self,
        expected: Any,
        found: Iterable[Any],
        following: Any,
        look: Callable[[int, Any, Any], None] = lambda place, expected, found: None,
    ) -> None:
        self._look = look
        self._kl, self._agreed, self._losses, self._places = 0.0, 0, 0.0, 0
        self._followed = int((following >= 0).sum())
        for piece in found:
            step = max(1, AT_ONCE // piece.shape[-1])
            for begin in range(0, len(piece), step):
                after = piece[begin : begin + step]
                where = slice(self._places, self._places + len(after))
                self._add(expected[where], after, following[where])
        if self._places != len(expected):
            raise ValueError(f"{self._places} places were found, {len(expected)} expected")

    @property
    def mean_kl(self) -> float:
        mean = self._kl / self._places
        return max(0.0, mean) if math.isfinite(mean) else WORST

    @property
    def top1_agreement(self) -> float:
        return self._agreed / self._places

    @property
    def perplexity_ratio(self) -> float:
        loss = self._losses / max(1, self._followed)
        return math.exp(loss) if loss < 20 else WORST

    def _add(self, before: Any, after: Any, following: Any) -> None:
        import numpy

        p, q = log_softmax(before), log_softmax(after)
        self._look(self._places, p, q)
        self._agreed += int((before.argmax(-1) == after.argmax(-1)).sum())
        known = numpy.flatnonzero(following >= 0)
        followed = known, following[known]
        self._losses += float((p[followed] - q[followed]).sum())
        q -= p
        numpy.exp(p, out=p)
        self._kl -= float((p * q).sum())
        self._places += len(after)
