"""How long an entry has been in quarantine, computed so that one wrong reading of the clock cannot free it. Pure.

Its age is added up from pass to pass, and one pass adds a day at most. Its name is the time of its arrival. It goes
only when both have reached the time to live: the age that was added up, and the clock minus the arrival. So each leap
of the clock makes it go early by a day at most, and on a machine that is seldom on it goes late.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

LIVES = 7 * 86_400.0  # seconds, where the configuration says nothing
LONGEST_STEP = 86_400.0  # seconds that one pass may add
OFTEN = 3600.0  # seconds between two ages that are written down: an idle machine writes nothing each minute


@dataclass(frozen=True, kw_only=True)
class Ages:
    """Seconds by name, as of `looked` (seconds since 1970)."""

    looked: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


def is_ours(name: str) -> bool:
    """Named by nanoseconds since 1970: nothing else in there was put there by us."""
    # guard: only our own names leave quarantine
    return name.isascii() and name.isdigit() and 16 <= len(name) <= 20


def aged(held: Ages, names: Iterable[str], now: float) -> Ages:
    """`held` itself while nothing is new and little time has passed."""
    mine = {name for name in names if is_ours(name)}
    passed = now - held.looked
    if mine == held.seconds.keys() and (not mine or 0 <= passed < OFTEN):
        return held
    step = min(max(passed, 0.0), LONGEST_STEP)  # guard: one look at the clock adds a day at most
    return Ages(
        looked=now, seconds={name: held.seconds[name] + step if name in held.seconds else 0.0 for name in sorted(mine)}
    )


def left(name: str, held: Ages, now: float, lives: float) -> float:
    """Seconds until it may go, 0.0 when it may."""
    since = now - int(name) / 1e9
    by_name = lives - since if since >= 0 else 0.0  # it came in the future: the clock was set back
    # guard: what is in quarantine goes only after its time
    return max(lives - held.seconds.get(name, 0.0), by_name, 0.0)
