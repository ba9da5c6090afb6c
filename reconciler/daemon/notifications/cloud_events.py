"""Events of the log as CloudEvents 1.0: which types are sent, and their JSON. Pure.

The id is the digest of the event's line in the log, so it is the same after a restart and a receiver can drop
duplicates. Text that came from manifests is one short line without control characters.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from reconciler.domain.text.escape import one_line

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
PREFIX = "reconciler.foundry."

# Type in the log -> CloudEvents type after PREFIX. Other types are not sent.
SENT = {
    "variant.ready": "variant.ready",
    "variant.not-ready": "variant.not-ready",
    "variant.stalled": "variant.stalled",
    "fetch.failed": "variant.failed",
    "convert.failed": "variant.failed",
    "verify.failed": "variant.failed",
    "register.failed": "variant.failed",
    "repair.failed": "variant.failed",
    "retire.failed": "variant.failed",
    "prune.failed": "variant.failed",
    "repair.done": "variant.repaired",
    "prune.done": "variant.pruned",
    "source.stale": "source.stale",
    "source.fresh": "source.fresh",
}

_TEXTS = ("word", "variant", "reason", "code", "message", "revision")
_NUMBERS = ("number", "seconds")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def is_sent(event: Mapping[str, Any]) -> bool:
    """A freed artifact has no variant; it is not sent."""
    kind = str(event.get("type", ""))
    return kind in SENT and bool(event.get("variant") or kind.startswith("source."))


def cloud_event(event: Mapping[str, Any], digest: str, machine: str) -> bytes:
    """`digest` is that of the event's line."""
    body: dict[str, object] = {
        "specversion": "1.0",
        "id": digest.removeprefix("sha256:")[:32],
        "source": f"/reconciler/{safe_name(machine)}",
        "type": PREFIX + SENT[str(event["type"])],
        "datacontenttype": "application/json",
    }
    if event.get("variant"):
        body["subject"] = one_line(str(event["variant"]))
    if _TIME.fullmatch(str(event.get("time", ""))):
        body["time"] = event["time"]
    body["data"] = _data(event, machine)
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def safe_name(machine: str) -> str:
    """As a part of a URI, and of a context that a forge shows."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", machine)[:64] or "machine"


def _data(event: Mapping[str, Any], machine: str) -> dict[str, object]:
    texts = {name: one_line(str(event[name])) for name in _TEXTS if event.get(name)}
    numbers = {name: event[name] for name in _NUMBERS if isinstance(event.get(name), int | float)}
    action, _, _ = str(event["type"]).partition(".")
    return {"machine": safe_name(machine), "action": action, **texts, **numbers}
