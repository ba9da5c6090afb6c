"""What is recorded as reference answers while a source and its artifact are compared (domain.reference)."""

import math
from typing import Any

from reconciler.backends.logits import kept
from reconciler.domain.reference import LENGTH, METHOD, TOP, Reference, ReferencePlace, places_of

DIGITS = 5  # of a logarithm


class ReferenceWriter:
    """Of the beginning of the first row. Where the source has read it, its rotation turned as in texts of `whole`
    tokens or more, or as in shorter ones."""

    def __init__(self, build_key: str, row: list[int], whole: int) -> None:
        self._build_key, self._tokens = build_key, tuple(row[:LENGTH])
        self._least, self._most = (whole, 1 << 60) if len(row) >= whole else (1, whole - 1)
        self._wanted = set(places_of(len(self._tokens)))
        self._places: list[ReferencePlace] = []

    def add(self, begin: int, source: Any, built: Any) -> None:
        """What both found from place `begin` on, as logarithms of probabilities. Places come in their order."""
        for place in sorted(self._wanted.intersection(range(begin, begin + len(source)))):
            self._places.append(_place(place, source[place - begin], built[place - begin]))

    def reference(self) -> Reference | None:
        """None where the artifact found what is no probability."""
        if any(math.isnan(number) for one in self._places for number in one.built):
            return None
        return Reference(
            build_key=self._build_key,
            method=METHOD,
            tokens=self._tokens,
            least=self._least,
            most=self._most,
            places=tuple(self._places),
        )


def _place(place: int, source: Any, built: Any) -> ReferencePlace:
    import numpy

    count = min(TOP, len(source) - 1)
    likeliest = numpy.argpartition(source, -count)[-count:]
    likeliest = likeliest[numpy.argsort(-source[likeliest])]
    rounded = [tuple(kept(row, likeliest).round(DIGITS).tolist()) for row in (source, built)]
    return ReferencePlace(
        place=place,
        tokens=tuple(likeliest.tolist()),
        source=rounded[0],
        built=rounded[1],
        likeliest=int(built.argmax()),
    )
