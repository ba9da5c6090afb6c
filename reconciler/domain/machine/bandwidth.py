"""What a machine may download: its limits, and the Meter that each download keeps to. Git is not counted: manifests and
their history are small."""

from dataclasses import dataclass
from typing import Final, Literal

from reconciler.domain.text.units import Count, Seconds

PIECE = 1 << 20  # bytes that a download takes at once, where nothing limits it
SLOWEST = 16 << 10  # bytes a second: less, and a server takes it for a dead connection
HOLD: Final = "hold"
URGENT: Final = "urgent"
Metered = Literal["hold", "urgent"]
METERED = (HOLD, URGENT)


@dataclass(frozen=True, kw_only=True)
class Bandwidth:
    """`rate` in bytes a second, for all downloads together; `daily` in bytes. `metered`: the connection costs by the
    byte, so nothing is downloaded, or only what is urgent; "" where it does not. Over `splay` seconds the machines of a
    fleet begin. 0: no limit."""

    rate: Count = 0
    daily: Count = 0
    metered: Metered | Literal[""] = ""
    splay: Seconds = 0.0


class Meter:
    """Of one download; this one limits nothing. `piece`: bytes to take at once."""

    piece = PIECE

    def moved(self, origin: str, count: int) -> None:
        """So many bytes have come from there. Waits as the rate wants it; raises Paused where no more may come now:
        what has come stays."""


UNMETERED = Meter()
