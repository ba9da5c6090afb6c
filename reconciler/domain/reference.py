"""Reference answers: what a source and the artifact made of it found at some places of a text, when the two were
compared.
A machine that serves the artifact reads the same tokens and compares what it finds, without the source."""

from dataclasses import dataclass
from typing import Any

from reconciler.domain import digest
from reconciler.domain.measured import TEXTS_DIGEST, Fidelity
from reconciler.domain.text.units import Count

METHOD = digest.of_value((1, TEXTS_DIGEST))
FLOOR = -60.0  # the least logarithm of a probability


@dataclass(frozen=True, kw_only=True)
class ReferencePlace:
    """What comes after `place` tokens and one. `tokens` are those that the source finds likeliest, the likeliest first.
    `source` and `built` are the logarithms of their probabilities, and as the last one of all other tokens together:
    of the source, and of the artifact where it was built. `likeliest` is the token that the artifact found likeliest
    there."""

    place: Count
    tokens: tuple[Count, ...]
    source: tuple[float, ...]
    built: tuple[float, ...]
    likeliest: Count


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Of the artifact of `build_key`. `tokens` are read from the first; a text of `least` to `most` tokens that begins
    with them has to be read at once, because a stretched rotation turns otherwise in others. `method` is a digest of
    how."""

    build_key: str
    method: str
    tokens: tuple[Count, ...]
    least: Count
    most: Count
    places: tuple[ReferencePlace, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for what is none, which may come from anywhere."""
        places = [one.place for one in self.places]
        # guard: a reference has its places within its text
        _require(0 < len(places) <= MOST_PLACES and places == sorted({*places}) and places[-1] < len(self.tokens))
        _require(1 <= self.least <= self.most and len(self.tokens) <= MOST_TOKENS)
        _require(max(self.tokens) < 1 << 31)
        for one in self.places:
            _require(0 < len(one.tokens) == len({*one.tokens}) <= MOST_LIKELIEST and max(one.tokens) < 1 << 31)
            for held in (one.source, one.built):
                _require(len(held) == len(one.tokens) + 1 and all(FLOOR <= number <= 1e-3 for number in held))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of an artifact with its source: the numbers, and reference answers where there are any."""

    fidelity: Fidelity
    reference: Reference | None = None


# How many are recorded: tens of kilobytes in all. More of each are no reference.
PLACES, TOP, LENGTH = 48, 24, 300
MOST_PLACES, MOST_LIKELIEST, MOST_TOKENS = 256, 64, 1024


def places_of(length: int) -> list[int]:
    """Spread over a text of so many tokens, the first and the last among them."""
    count = min(PLACES, length)
    return sorted({round(step * (length - 1) / max(1, count - 1)) for step in range(count)})


def from_plain(plain: dict[str, Any]) -> Reference:
    """From what `as_dict` made, through JSON."""
    places = [ReferencePlace(**{name: _tuple(held) for name, held in one.items()}) for one in plain["places"]]
    return Reference(**{**plain, "tokens": tuple(plain["tokens"]), "places": tuple(places)})


def _tuple(held: Any) -> Any:
    return tuple(held) if isinstance(held, list) else held


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("a text with places in it, and for each as many logarithms as tokens and one")
