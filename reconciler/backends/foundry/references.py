"""The runtime against the reference answers of an artifact (domain.reference). For its worker process only."""

import math
from collections.abc import Sequence
from itertools import takewhile
from statistics import fmean, median
from typing import Any, Protocol

from reconciler.backends.logits import divergence, kept, log_softmax
from reconciler.domain.measured import WORST, Referenced
from reconciler.domain.reference import METHOD, Reference, ReferencePlace

NONE = "no reference answers came with it from where it was built"
OTHER = "its reference answers are of another vocabulary, or of another version of the comparison"
LAST_ALONE = "the model gives no more than the logits after the last token"
TOO_FAR = "its reference answers need a longer text than the budget allows"


class _Read(Protocol):
    """What has read a text at once."""

    def outputs(self, begin: int, end: int | None = None) -> Any: ...


class Answers:
    """`tokens` are what a text must begin with. Of all texts that are read at once, which have the lengths `ends`, the
    one that covers most of it is compared."""

    def __init__(self, reference: Reference | None, vocabulary: int, ends: Sequence[int]) -> None:
        self._reference, self._end = reference, 0
        self.tokens: tuple[int, ...] = ()
        self.found = Referenced(method=METHOD, unmeasured=NONE)
        if reference is None:
            return
        if reference.method != METHOD or not _fits(reference, vocabulary):
            self.found = Referenced(method=METHOD, unmeasured=OTHER)
            return
        self.tokens = reference.tokens
        self.found = Referenced(method=METHOD, unmeasured=TOO_FAR)
        fitting = [end for end in ends if reference.least <= end <= reference.most]
        self._end = max(fitting, key=lambda end: (min(end, len(self.tokens)), -end), default=0)

    def give_up(self) -> None:
        """A reading of the whole text gives the last logits alone."""
        if self.found.unmeasured == TOO_FAR:
            self.found = Referenced(method=METHOD, unmeasured=LAST_ALONE)

    def look(self, text: Sequence[int], read: _Read) -> None:
        """At what was found in a text that was read at once."""
        if self._reference is None or len(text) != self._end or not self.found.unmeasured:
            return
        pairs = zip(text, self.tokens, strict=False)
        length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if places := [one for one in self._reference.places if one.place < length]:
            self.found = _compared(places, read.outputs(0, places[-1].place + 1))


def _fits(reference: Reference, vocabulary: int) -> bool:
    # guard: a token that the model does not know is not read
    return max((*reference.tokens, *(token for one in reference.places for token in one.tokens))) < vocabulary


def _compared(places: Sequence[ReferencePlace], logits: Any) -> Referenced:
    from_built, from_source, agreed = [], [], 0
    for one in places:
        row = log_softmax(logits[one.place])
        found = kept(row, one.tokens)
        from_built.append(_finite(divergence(one.built, found)))
        from_source.append(_finite(divergence(one.source, found)))
        agreed += int(row.argmax()) == one.tokens[0]
    return Referenced(
        method=METHOD,
        positions=len(places),
        median_kl=median(from_built),
        source_kl=fmean(from_source),
        built_kl=fmean(_finite(divergence(one.source, one.built)) for one in places),
        agreed=agreed,
        built_agreed=sum(one.likeliest == one.tokens[0] for one in places),
    )


def _finite(number: float) -> float:
    return WORST if math.isnan(number) else min(max(0.0, number), WORST)
