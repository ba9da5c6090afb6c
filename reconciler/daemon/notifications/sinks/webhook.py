"""The webhook sink: events of the log as CloudEvents to a URL. An event that is sent twice has the same id."""

import hashlib
import hmac
import re
from dataclasses import dataclass

from reconciler.daemon.notifications.cloud_events import CONTENT_TYPE, cloud_event
from reconciler.daemon.notifications.post import Reply, check_url, post
from reconciler.daemon.notifications.sink import EventDelivery, SinkContext, SinkKind
from reconciler.daemon.secret_file import read_secret
from reconciler.domain.errors import UsageError
from reconciler.domain.machine.sink_settings import Section, Setting
from reconciler.state.events import Line

SIGNATURE = "X-Reconciler-Signature-256"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class WebhookTarget:
    """Logs show `name`, because a URL may be a secret; deliveries are remembered under it. Raises UsageError, which
    does not repeat the URL."""

    url: str
    secret_file: str = ""
    name: str = "default"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"notifications: expected a name of a-z, 0-9 and -, got {self.name!r}")
        check_url(self.url, f"notifications: {self.name}")

    def open(self, context: SinkContext) -> "WebhookDelivery":
        return WebhookDelivery(self, context)


class WebhookDelivery(EventDelivery):
    def __init__(self, target: WebhookTarget, context: SinkContext) -> None:
        super().__init__(f"notify-{target.name}", context)
        self._target, self._machine = target, context.machine

    def send(self, message: Line) -> Reply:
        body = cloud_event(message.event or {}, message.digest, self._machine)
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": "reconciler"}
        if self._target.secret_file:
            signature = hmac.new(read_secret(self._target.secret_file), body, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={signature}"
        return post(self._target.url, body, headers)


KIND = SinkKind(
    section=Section(
        name="notify",
        meaning="Where a daemon sends notifications.",
        settings={
            "url": Setting(
                flag="--notify",
                metavar="URL",
                meaning="webhook that gets a CloudEvent for what matters (others can see arguments: a secret URL is "
                "better in the environment or the configuration)",
            ),
            "secret_file": Setting(
                flag="--notify-secret-file", metavar="FILE", meaning="secret that those are signed with", kind="secret"
            ),
        },
    ),
    target=WebhookTarget,
)
