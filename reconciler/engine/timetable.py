"""Timetable: what this machine may begin now, by the windows, the budget and the splay of its configuration; Turns: how
long it lets others of its fleet go first.

The share of a splay that a machine waits comes from its name and its root's mark, so it stays the same over restarts
and differs between machines.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from datetime import UTC

from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.maintenance_windows import (
    ALLOWED,
    AnyWindow,
    Day,
    Permission,
    Permissions,
    Spell,
    day_at,
    spell,
    utc,
    when,
)
from reconciler.domain.text.units import size_text
from reconciler.host.zones import find_zone

AFTER_START = 300.0  # seconds, over which a fleet whose power comes back asks, where the interval is not shorter
_WORK = {"fetch": "downloads", "build": "conversions", "activate": "changes of what is served"}


def share_of(identity: str, key: str = "") -> float:
    """From 0 to 1, the same each time."""
    drawn = hashlib.sha256(f"{identity} {key}".encode()).digest()
    return int.from_bytes(drawn[:6], "big") / (1 << 48)


class Turns:
    """In memory: whatever this process has just begun to want is new to it. So a fleet that comes back after a power
    cut comes one by one: over `interval` seconds to the registries, over `splay` seconds to what it downloads."""

    def __init__(
        self,
        identity: str = "",
        *,
        interval: float = 0.0,
        splay: float = 0.0,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity, self._splay, self._ticks = identity, splay, ticks
        self._begins = ticks() + share_of(identity) * min(interval, AFTER_START)
        self._due: dict[str, float] = {}

    @property
    def before_asking(self) -> float:
        """Seconds until a registry may be asked."""
        return max(self._begins - self._ticks(), 0.0)

    def before(self, key: str) -> float:
        """Seconds until what is wanted by this key may be downloaded. Counts from the first question."""
        if key not in self._due:
            self._due[key] = max(self._begins, self._ticks() + share_of(self._identity, key) * self._splay)
        return max(self._due[key] - self._ticks(), 0.0)


class Timetable:
    def __init__(self, traits: Traits, identity: str, clock: Callable[[], float] = time.time) -> None:
        self._windows, self._bandwidth = traits.windows, traits.bandwidth
        self._name = traits.time_zone or "UTC"
        self._zone = find_zone(traits.time_zone) or UTC
        self._share = share_of(identity)
        self.clock = clock

    def fetching(self) -> Spell:
        return self._spell(self._windows.fetch, splay=self._bandwidth.splay)

    def day(self) -> Day:
        """Of the budget."""
        return day_at(self._zone, self.clock(), self._share * self._bandwidth.splay)

    def permissions(self, used: int, turns: Turns, keys: Iterable[str]) -> Permissions:
        """`used`: bytes of today's budget. `keys` are of what may be downloaded."""
        waits = {key: rest for key in keys if (rest := turns.before(key))}
        return Permissions(
            fetch=self._permission("fetch", self.fetching()),
            build=self._permission("build", self._spell(self._windows.build)),
            activate=self._permission("activate", self._spell(self._windows.activate)),
            budget=self._budget(used),
            metered=self._bandwidth.metered,
            turns={key: self.turn(rest) for key, rest in waits.items()},
        )

    def turn(self, rest: float) -> Permission:
        why = "machines of a fleet begin one after the other (bandwidth.splay)"
        return self._not_before(self.clock() + rest, why)

    def _spell(self, windows: tuple[AnyWindow, ...], *, splay: float = 0.0) -> Spell:
        return spell(windows, self._zone, self.clock(), self._share, splay)

    def _permission(self, kind: str, now: Spell) -> Permission:
        if now.is_open:
            return ALLOWED
        why = f"outside the window for {_WORK[kind]} (windows.{kind})"
        return Permission(may=False, message=why) if now.until is None else self._not_before(now.until, why)

    def _budget(self, used: int) -> Permission:
        daily = self._bandwidth.daily
        if not daily or used < daily:
            return ALLOWED
        why = f"{size_text(used)} of {size_text(daily)} have come today (bandwidth.daily)"
        return self._not_before(self.day().ends, why)

    def _not_before(self, until: float, why: str) -> Permission:
        shown = when(until, self.clock(), self._zone, self._name)
        return Permission(may=False, until=utc(until), message=f"{why}: until {shown}")
