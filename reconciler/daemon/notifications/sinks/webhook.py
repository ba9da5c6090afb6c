"""The webhook sink: events of the log as CloudEvents to a URL, in order, each at least once.

The position in the log is remembered and moves on only after the receiver has answered 2xx; an event that is sent
twice has the same id. After a failure the sink backs off; an event that could not be delivered for a day is given up.
A new sink gets what happens from then on.
"""

import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.daemon.background import retry_after
from reconciler.daemon.notifications.cloud_events import CONTENT_TYPE, cloud_event, is_sent
from reconciler.daemon.notifications.post import Reply, check_url, post
from reconciler.daemon.notifications.sink import SinkContext, SinkKind
from reconciler.daemon.secret_file import NoSecret, checked_secret_file, read_secret
from reconciler.daemon.state import State
from reconciler.domain.errors import UsageError
from reconciler.domain.plain_data import as_dict
from reconciler.engine import log
from reconciler.state.event_tail import Line, LogPosition, lines_after, newest_place
from reconciler.state.events import Event

DAY = 86_400.0
SIGNATURE = "X-Reconciler-Signature-256"
POISON = frozenset({400, 413, 415, 422})  # it is this event that is refused, not us: the next one may pass


_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_URL, _SECRET_FILE = "--notify", "--notify-secret-file"


@dataclass(frozen=True, kw_only=True)
class WebhookTarget:
    """Logs say `name`, because a URL may be a secret; deliveries are remembered under it."""

    name: str
    url: str
    secret_file: str = ""

    def open(self, context: SinkContext) -> "WebhookDispatcher":
        return WebhookDispatcher(self, context)


def webhook_target(url: str, *, name: str = "default", secret_file: str = "") -> WebhookTarget:
    """Raises UsageError, which does not repeat the URL."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"notifications: expected a name of a-z, 0-9 and -, got {name!r}")
    check_url(url, f"notifications: {name}")
    return WebhookTarget(name=name, url=url, secret_file=secret_file)


def _configure(given: Mapping[str, str]) -> WebhookTarget | None:
    if not given[_URL]:
        return None
    secret_file = checked_secret_file(_SECRET_FILE, given[_SECRET_FILE])
    return webhook_target(given[_URL], secret_file=secret_file)


KIND = SinkKind(
    options={
        _URL: (
            "URL",
            "webhook that gets a CloudEvent for what matters. Others can see arguments: a secret URL belongs elsewhere",
        ),
        _SECRET_FILE: ("FILE", "secret that those are signed with"),
    },
    configure=_configure,
)


class WebhookDispatcher:
    """Delivers to one target. One thread steps it."""

    def __init__(self, target: WebhookTarget, context: SinkContext) -> None:
        self.name = f"notify-{target.name}"
        self._target, self._events, self._machine = target, context.events, context.machine
        self._cursor = context.cursor(self.name)
        self._failures = 0
        self._due = 0.0  # monotonic time before which a failed event is not tried again
        self._first_try: tuple[str, float] = ("", 0.0)
        self._place = self._remembered()

    def passed(self, state: State) -> None:
        """What to send is in the log of events."""

    def step(self) -> float | None:
        """Deliver all that is new."""
        left = self._due - time.monotonic()
        if left > 0.0:
            return left
        while lines := lines_after(self._events, self._place):
            for line in lines:
                if line.event is not None and is_sent(line.event) and not self._is_over(line, line.event):
                    return self._due - time.monotonic()
                self._place = line.after
        return None

    def _is_over(self, line: Line, event: Event) -> bool:
        """Whether it was delivered or given up: then the next one follows."""
        reply = self._send(line, event)
        if reply.good:
            self._succeeded()
        elif reply.status in POISON or self._is_too_old(line, event):
            log.warning("notify.given_up", sink=self._target.name, event_id=line.digest[7:39], problem=str(reply))
        else:
            self._failed(reply)
            return False
        self._remember(line.after)
        return True

    def _send(self, line: Line, event: Event) -> Reply:
        body = cloud_event(event, line.digest, self._machine)
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": "reconciler"}
        if self._target.secret_file:
            try:
                headers[SIGNATURE] = signature(read_secret(self._target.secret_file), body)
            except NoSecret as error:
                return Reply(status=0, problem=f"its secret: {error}")
        return post(self._target.url, body, headers)

    def _succeeded(self) -> None:
        if self._failures:
            log.info("notify.recovered", sink=self._target.name, after=self._failures)
        self._failures = 0

    def _failed(self, reply: Reply) -> None:
        self._failures += 1
        self._due = time.monotonic() + max(retry_after(self._failures), reply.rest)
        if self._failures == 1:  # a sink that is down for a day is one line
            log.warning("notify.failed", sink=self._target.name, problem=str(reply))

    def _is_too_old(self, line: Line, event: Event) -> bool:
        """By its own time and by how long it has been tried: the clock may have been set."""
        if self._first_try[0] != line.digest:
            self._first_try = (line.digest, time.monotonic())
        return time.monotonic() - self._first_try[1] > DAY or time.time() - _unix(event) > DAY

    def _remembered(self) -> LogPosition:
        document = self._cursor.read() or {}
        log_, offset = document.get("log"), document.get("offset")
        if isinstance(log_, str) and isinstance(offset, int) and offset >= 0:
            return LogPosition(log=log_, offset=offset)
        place = newest_place(self._events)
        self._remember(place)
        return place

    def _remember(self, place: LogPosition) -> None:
        self._place = place
        self._cursor.write(as_dict(place))


def signature(secret: bytes, body: bytes) -> str:
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def _unix(event: Event) -> float:
    try:
        return calendar.timegm(time.strptime(str(event.get("time", "")), "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return time.time()
