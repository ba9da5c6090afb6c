"""The section `bandwidth` of a machine's configuration, as types (docs/bandwidth.md)."""

from typing import Annotated

from pydantic import AfterValidator, Field

from reconciler.domain.machine.bandwidth import METERED, SLOWEST, Bandwidth, Metered
from reconciler.domain.text.units import read_duration
from reconciler.manifests.field_types import Duration, Strict, as_size, expect, one_of, optional, refusal, size_guess
from reconciler.manifests.loader import Plain

LEAST_DAILY = 1 << 20
LONGEST_SPLAY = 24 * 3600.0
Rate = Annotated[
    int,
    Field(ge=SLOWEST, le=1 << 40),
    expect("bytes a second, at least 16KiB, such as 20MB", as_size, guess=size_guess),
]
Daily = Annotated[
    int, Field(ge=LEAST_DAILY, le=1 << 60), expect("a size of at least 1MiB, such as 5GiB", as_size, guess=size_guess)
]


def _short_enough(text: str) -> str:
    if (read_duration(text) or 0.0) > LONGEST_SPLAY:
        raise refusal("a duration of at most 24h", Plain(text))
    return text


Splay = Annotated[Duration, AfterValidator(_short_enough)]


class BandwidthLimits(Strict):
    rate: Rate | None = optional("Bytes a second, of all downloads together.")
    daily: Daily | None = optional("Bytes a day; what has come is kept, and the rest comes on the next day.")
    metered: Annotated[Metered, one_of(METERED)] | None = optional(
        "The connection costs by the byte: download nothing, or only what is urgent."
    )
    splay: Splay | None = optional("Over this time the machines of a fleet begin to download (at most 24h).")

    @property
    def values(self) -> Bandwidth:
        """As the rest of the program has it."""
        splay = read_duration(self.splay or "0s") or 0.0
        return Bandwidth(rate=self.rate or 0, daily=self.daily or 0, metered=self.metered or "", splay=splay)
