"""Notifications: the log of events, read from a place that is remembered for each sink, told as CloudEvents in order.

At least once: the place moves on only after the sink has said yes, and what was told twice has the same id. A sink that
does not answer is tried again, later and later; an event that could not be told for a day is given up. A new sink hears
what happens from then on, not the past.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import time

from reconciler.daemon.background import retry_after
from reconciler.daemon.hooks import NoSecret, read_secret
from reconciler.daemon.notifications.cloud_events import CONTENT_TYPE, cloud_event, is_told
from reconciler.daemon.notifications.configuration import Sink
from reconciler.daemon.notifications.post import Reply, post
from reconciler.domain.value import as_dict
from reconciler.engine import log
from reconciler.state.delivery_cursor import DeliveryCursor
from reconciler.state.event_tail import Line, Place, lines_after, newest_place
from reconciler.state.events import Event

DAY = 86_400.0
SIGNATURE = "X-Reconciler-Signature-256"
POISON = frozenset({400, 413, 415, 422})  # it is this event that is refused, not us: the next one may pass


class Courier:
    """Brings one sink its events. One thread steps it."""

    def __init__(self, sink: Sink, events: str, told: DeliveryCursor, machine: str) -> None:
        self._sink, self._events, self._told, self._machine = sink, events, told, machine
        self._failures = 0
        self._due = 0.0  # ticks before which a failed one is not tried again
        self._first_try: tuple[str, float] = ("", 0.0)
        self._place = self._remembered()

    def step(self) -> float | None:
        """Tell all that is new; seconds until the next try when the sink does not want it now."""
        left = self._due - time.monotonic()
        if left > 0.0:
            return left
        while lines := lines_after(self._events, self._place):
            for line in lines:
                if line.event is not None and is_told(line.event) and not self._is_over(line, line.event):
                    return self._due - time.monotonic()
                self._place = line.after
        return None

    def _is_over(self, line: Line, event: Event) -> bool:
        """Told, or given up: then the next one may come."""
        reply = self._send(line, event)
        if reply.good:
            self._succeeded()
        elif reply.status in POISON or self._is_too_old(line, event):
            log.warning(
                "notify.given_up", sink=self._sink.name, event_id=line.digest[7:39], problem=str(reply)
            )
        else:
            self._failed(reply)
            return False
        self._remember(line.after)
        return True

    def _send(self, line: Line, event: Event) -> Reply:
        body = cloud_event(event, line.digest, self._machine)
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": "reconciler"}
        if self._sink.secret_file:
            try:
                headers[SIGNATURE] = signature(read_secret(self._sink.secret_file), body)
            except NoSecret as error:
                return Reply(status=0, problem=f"its secret: {error}")
        return post(self._sink.url, body, headers)

    def _succeeded(self) -> None:
        if self._failures:
            log.info("notify.recovered", sink=self._sink.name, after=self._failures)
        self._failures = 0

    def _failed(self, reply: Reply) -> None:
        self._failures += 1
        self._due = time.monotonic() + max(retry_after(self._failures), reply.rest)
        if self._failures == 1:  # a sink that is down for a day is one line
            log.warning("notify.failed", sink=self._sink.name, problem=str(reply))

    def _is_too_old(self, line: Line, event: Event) -> bool:
        """By its own time, and by how long we have tried: clocks may be set."""
        if self._first_try[0] != line.digest:
            self._first_try = (line.digest, time.monotonic())
        return time.monotonic() - self._first_try[1] > DAY or time.time() - _unix(event) > DAY

    def _remembered(self) -> Place:
        document = self._told.read() or {}
        log_, offset = document.get("log"), document.get("offset")
        if isinstance(log_, str) and isinstance(offset, int) and offset >= 0:
            return Place(log=log_, offset=offset)
        place = newest_place(self._events)
        self._remember(place)
        return place

    def _remember(self, place: Place) -> None:
        self._place = place
        self._told.write(as_dict(place))


def signature(secret: bytes, body: bytes) -> str:
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def _unix(event: Event) -> float:
    try:
        return calendar.timegm(time.strptime(str(event.get("time", "")), "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return time.time()
