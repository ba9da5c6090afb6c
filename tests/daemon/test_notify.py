"""Notifications to a real server on loopback: in order, at least once, through restarts and outages, no secrets."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.daemon import background
from reconciler.daemon.notifications import sink
from reconciler.daemon.notifications.cloud_events import SENT, cloud_event, is_sent
from reconciler.daemon.notifications.notifications import Notifications, sink_kinds
from reconciler.daemon.notifications.post import TIMEOUT
from reconciler.daemon.notifications.sink import SinkContext
from reconciler.daemon.notifications.sinks.webhook import WebhookDelivery, WebhookTarget
from reconciler.daemon.state import Moment, State
from reconciler.domain.errors import UsageError
from reconciler.domain.layout import Layout
from reconciler.host.clock import now
from reconciler.planner.conditions import transitions
from reconciler.state.records import Records
from tests import canaries
from tests.daemon.faces import condition, conditions
from tests.daemon.receiver import Receiver, receiving, until

CANARY = canaries.secret("sink")
PAGE = Path(__file__).parents[2] / "docs" / "notifications.md"


class Site:
    """A root with a log of events, and a courier that can be started anew."""

    def __init__(self, root: Path, receiver: Receiver) -> None:
        root.mkdir()
        self.root = root
        self.layout = Layout(str(root))
        self.records = Records(self.layout)
        self.secret = root.parent / "secret"
        canaries.file(self.secret, "sink")
        self.sink = WebhookTarget(name="ops", url=f"{receiver.url}/hook?key={CANARY}", secret_file=str(self.secret))
        self.context = SinkContext(machine="box", events=self.records.event_log, layout=self.layout)
        self.courier = self.started()

    def started(self) -> WebhookDelivery:
        return self.sink.open(self.context)

    def happen(self, number: int, kind: str = "repair.done", **more: Any) -> None:
        event = {"time": now(), "type": kind, "variant": "capitals-int4", "reason": "DriftDetected", "number": number}
        self.records.append_event(event | more)

    def step(self) -> float | None:
        """Now, whatever the pause after a failure is."""
        self.courier._due = 0.0
        return self.courier.step()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def site(tmp_path: Path, receiver: Receiver) -> Site:
    return Site(tmp_path / "root", receiver)


def numbers(receiver: Receiver) -> list[int]:
    return [one.json["data"]["number"] for one in receiver.taken]


def test_what_is_sent(site: Site, receiver: Receiver) -> None:
    site.happen(3, revision="c0ffee", message="a file changed")
    assert site.step() is None
    (one,) = receiver.taken
    assert one.headers["Content-Type"].startswith("application/cloudevents+json")
    signed = hmac.new(CANARY.encode(), one.body, hashlib.sha256).hexdigest()
    assert one.headers["X-Reconciler-Signature-256"] == f"sha256={signed}"
    body = one.json
    assert len(body.pop("id")) == 32
    assert body.pop("time").endswith("Z")
    assert body == {
        "specversion": "1.0",
        "source": "/reconciler/box",
        "type": "reconciler.foundry.variant.repaired",
        "subject": "capitals-int4",
        "datacontenttype": "application/json",
        "data": {
            "machine": "box",
            "action": "repair",
            "variant": "capitals-int4",
            "reason": "DriftDetected",
            "message": "a file changed",
            "revision": "c0ffee",
            "number": 3,
        },
    }


def test_only_what_matters_is_sent(site: Site, receiver: Receiver) -> None:
    for kind in ("convert.done", "verify.done", "register.done", "retire.done", "convert.cancelled", "unknown"):
        site.happen(1, kind)
    site.happen(2, "prune.done", variant="")  # a freed artifact
    site.happen(3, "prune.done")
    site.step()
    assert numbers(receiver) == [3]


def test_a_new_sink_hears_what_happens_from_then_on(site: Site, receiver: Receiver) -> None:
    site.happen(1)
    (site.root / "records" / "told" / "notify-ops.json").unlink()
    site.courier = site.started()
    site.happen(2)
    site.step()
    assert numbers(receiver) == [2]


def test_an_outage_costs_nothing_but_time(site: Site, receiver: Receiver) -> None:
    receiver.status = 503
    for n in range(3):
        site.happen(n)
        assert (site.step() or 0.0) > 0.0
    receiver.status = 200
    site.happen(3)
    assert site.step() is None
    site.step()
    assert numbers(receiver) == [0, 1, 2, 3]


def test_while_it_waits_it_does_not_ask(site: Site, receiver: Receiver) -> None:
    receiver.status = 500
    site.happen(1)
    first = site.courier.step()
    assert first is not None
    assert 0.4 < first <= 1.0
    site.courier.step()
    assert len(receiver.got) == 1


def test_a_server_may_ask_for_more_time(site: Site, receiver: Receiver) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": "120"}
    site.happen(1)
    rest = site.courier.step()
    assert rest is not None
    assert 119 < rest <= 120


def test_a_restart_in_the_middle_loses_nothing(site: Site, receiver: Receiver) -> None:
    for n in range(4):
        site.happen(n)
    sent: list[int] = []

    def dying(*_: object) -> None:
        sent.append(1)
        if len(sent) == 3:
            raise KeyboardInterrupt  # after the answer, before it is remembered: the worst moment

    site.courier._remember = dying  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        site.step()
    site.courier = site.started()
    site.step()
    told = [one.json["id"] for one in receiver.taken]
    assert list(dict.fromkeys(numbers(receiver))) == [0, 1, 2, 3]
    assert len(set(told)) == 4  # what came twice has the same id


def test_a_killed_process_loses_nothing(site: Site, receiver: Receiver) -> None:
    """SIGKILL, not an exception: another process tells, and dies at its third event."""
    for n in range(5):
        site.happen(n)
    script = f"""
import os
from reconciler.domain.layout import Layout
from reconciler.daemon.notifications.sink import SinkContext
from reconciler.daemon.notifications.sinks import webhook as notify
layout = Layout({str(site.root)!r})
sink = notify.WebhookTarget(name="ops", url={site.sink.url!r}, secret_file={site.sink.secret_file!r})
courier = sink.open(SinkContext(machine="box", events={site.records.event_log!r}, layout=layout))
post, sent = notify.post, []
def dying(*given):
    if len(sent) == 2:
        os.kill(os.getpid(), 9)
    sent.append(1)
    return post(*given)
notify.post = dying
courier.step()
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == -9
    assert numbers(receiver) == [0, 1]
    site.courier = site.started()
    site.step()
    assert numbers(receiver) == [0, 1, 2, 3, 4]


def test_the_log_may_be_renamed_in_between(site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.state.events.FULL", 400)
    for n in range(12):
        site.happen(n)
        if n % 2:
            site.courier = site.started()
            site.step()
    assert numbers(receiver) == list(range(12))


POISON = {400: [2], 413: [2], 422: [2], 401: [], 404: [], 302: [], 500: []}


@pytest.mark.parametrize("status", POISON)
def test_one_event_that_is_refused_does_not_hold_up_the_others(site: Site, receiver: Receiver, status: int) -> None:
    receiver.status = status
    site.happen(1)
    site.step()
    receiver.status = 200
    site.happen(2)
    site.courier._due = time.monotonic() + 100 if not POISON[status] else 0.0
    site.courier.step()
    assert numbers(receiver) == POISON[status]


def test_nobody_is_followed_elsewhere(site: Site, receiver: Receiver) -> None:
    with receiving() as other:
        receiver.status, receiver.headers = 302, {"Location": f"{other.url}/"}
        site.happen(1)
        site.step()
        assert (len(receiver.got), other.got) == (1, [])


def test_after_a_day_an_event_is_given_up(site: Site, receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    receiver.status = 500
    site.happen(1, time="2026-01-01T00:00:00Z")
    site.step()
    receiver.status = 200
    site.happen(2)
    site.step()
    assert numbers(receiver) == [2]
    assert "notify.given_up" in capfd.readouterr().err


def test_a_clock_that_was_set_back_does_not_keep_it_for_ever(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.status = 500
    site.happen(1, time="2099-01-01T00:00:00Z")
    site.step()
    monkeypatch.setattr(sink, "DAY", -1.0)
    assert site.step() is None


def test_secrets_are_told_to_nobody(site: Site, receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the signing secret nor the URL, which may be one: not in the log, not in records, not in a body."""
    receiver.status = 500
    site.happen(1)
    site.step()
    site.sink = WebhookTarget(name="ops", url=f"http://127.0.0.1:1/{CANARY}", secret_file=str(site.secret))
    site.courier = site.started()
    site.step()
    site.sink = WebhookTarget(name="ops", url="http://127.0.0.1:1/", secret_file=str(site.secret) + "-gone")
    site.courier = site.started()
    site.step()
    said = "".join(capfd.readouterr())
    assert said.count("notify.failed") == 3
    written = [path.read_text() for path in site.root.rglob("*") if path.is_file()]
    assert not [text for text in [said, *written] if CANARY in text]
    assert CANARY.encode() not in receiver.got[0].body


def test_hostile_words_stay_words() -> None:
    event = {"type": "convert.failed", "variant": 'x"},{\n', "message": "\x1b[31m\u202e" + "a" * 10_000, "time": "x\ny"}
    body = json.loads(cloud_event(event, "sha256:" + "0" * 64, "../../box\r\nX: y"))
    assert body["source"] == "/reconciler/..-..-box-X-y"
    assert "time" not in body
    assert "\x1b" not in body["data"]["message"]
    assert len(body["data"]["message"]) <= 300
    assert "\n" not in body["subject"]


def test_a_hanging_sink_holds_up_nobody(site: Site, receiver: Receiver) -> None:
    receiver.open.clear()
    with receiving() as other:
        sinks = (site.sink, WebhookTarget(name="other", url=other.url))
        notifications = Notifications(sinks, site.context, site.records)
        try:
            site.happen(1)
            started = time.monotonic()
            notifications.passed(State(started=Moment.now(), interval=1.0))
            assert time.monotonic() - started < TIMEOUT / 2  # whoever waited for the sink would wait so long
            until(lambda: numbers(other) == [1])
            assert receiver.taken == []
            receiver.open.set()
            until(lambda: 1 in numbers(receiver))
        finally:
            notifications.close()


def test_a_silent_repository_is_sent_once(site: Site, receiver: Receiver) -> None:
    notifications = Notifications((site.sink,), site.context, site.records)
    state = State(started=Moment.now(), interval=1.0, applied="c0ffee")
    try:
        for stale in (False, True, True, False, False):
            notifications.passed(replace(state, stale=stale))
        until(lambda: len(_types(receiver)) == 2)
    finally:
        notifications.close()
    assert _types(receiver) == ["reconciler.foundry.source.stale", "reconciler.foundry.source.fresh"]


def _types(receiver: Receiver) -> list[str]:
    """Of each notification once: one whose answer is late is sent again, with the same id."""
    return list({one.json["id"]: one.json["type"] for one in receiver.taken}.values())


def test_nobody_is_sent_nothing_is_started(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    before = threading.active_count()
    Notifications((), SinkContext(machine="box", events="", layout=layout), Records(layout))
    assert threading.active_count() == before
    assert os.listdir(tmp_path) == []


def test_a_bug_does_not_end_a_thread(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(background, "AFTER_A_BUG", 0.01)
    calls = []

    def step() -> float | None:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("a bug")
        return None

    thread = background.Background("test", step)
    until(lambda: len(calls) == 3)
    thread.close()
    assert capfd.readouterr().err.count("background.bug") == 2


def test_pauses_grow_to_their_limit() -> None:
    assert [0.5 * 2**n <= background.retry_after(n + 1) <= 2**n for n in range(8)] == [True] * 8
    assert all(150.0 <= background.retry_after(n) <= 300.0 for n in (10, 100, 100_000))


BAD_SINKS = {
    "no url": "example.com/x",
    "a password": "https://u:p@example.com/",
    "another scheme": "file:///etc/passwd",
    "a line": "https://example.com/\r\nX: y",
    "nothing": "",
}


@pytest.mark.parametrize("case", BAD_SINKS)
def test_an_address_that_is_none_is_refused_and_not_repeated(case: str) -> None:
    with pytest.raises(UsageError) as refused:
        WebhookTarget(url=BAD_SINKS[case], name="ops")
    assert "u:p" not in str(refused.value)


# -- the news of a pass

NEWS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "it became ready": (
        lambda: (conditions(a=condition("Ready", "False")), conditions(a=condition("Ready"))),
        ["variant.ready"],
    ),
    "a new one is ready": (lambda: ({}, conditions(a=condition("Ready"))), ["variant.ready"]),
    "a new one is not yet": (lambda: ({}, conditions(a=condition("Ready", "False"))), []),
    "it is ready no more": (
        lambda: (conditions(a=condition("Ready")), conditions(a=condition("Ready", "False"))),
        ["variant.not-ready"],
    ),
    "it still is": (lambda: (conditions(a=condition("Ready")), conditions(a=condition("Ready"))), []),
    "it stalls": (
        lambda: (
            conditions(a=condition("Stalled", "False")),
            conditions(a=condition("Stalled", "True", "ConversionFailed")),
        ),
        ["variant.stalled"],
    ),
    "it stalls for another reason": (
        lambda: (
            conditions(a=condition("Stalled", "True", "DiskFull")),
            conditions(a=condition("Stalled", "True", "ConversionFailed")),
        ),
        ["variant.stalled"],
    ),
    "it stalls as before, in other words": (
        lambda: (
            conditions(a=condition("Stalled", "True", "DiskFull", "1 byte free")),
            conditions(a=condition("Stalled", "True", "DiskFull", "2 bytes free")),
        ),
        [],
    ),
}


@pytest.mark.parametrize("case", NEWS)
def test_news(case: str) -> None:
    make, expected = NEWS[case]
    found = list(transitions(*make()))
    assert [kind for kind, _, _ in found] == expected
    assert all(is_sent({"type": kind, "variant": variant}) for kind, variant, _ in found)


def test_the_page_has_a_chapter_of_each_sink_with_all_its_options() -> None:
    chapters = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    for kind in sink_kinds():
        flags = [one.flag for one in kind.section.settings.values()]
        told = [all(f"{flag} " in chapter for flag in flags) for chapter in chapters]
        assert told.count(True) == 1, f"docs/notifications.md: a chapter with {', '.join(flags)}"


def test_every_type_has_a_line_in_the_documentation() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert {f"`reconciler.foundry.{kind}`" for kind in SENT.values()} <= set(page.replace("|", " ").split())
