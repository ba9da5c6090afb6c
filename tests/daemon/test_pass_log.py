"""What the daemon logs of passes."""

import json
from dataclasses import replace

import pytest

from reconciler.daemon.pass_log import Summaries
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.engine import log


def test_what_begins_to_be_held_back_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    summaries = Summaries()
    short = [Held(variant=f"{name}-int4", reason=Reason.DISK_INSUFFICIENT, message="2 GB lack") for name in "ab"]
    gone = Held(variant="c-int4", reason=Reason.NOTHING_DECLARED, message="--confirm")
    failed = Held(variant="d-int4", reason=Reason.BACKOFF_ACTIVE, message="tried again at noon")
    ordered = Held(variant="e-int4", reason=Reason.DEPENDENCY_NOT_READY, message="after d")
    other = replace(gone, message="another --confirm")
    passes = [
        *(short[:1], short, [*short, gone, failed, ordered], [*short, gone], [*short, other]),
        *(short[:1], [], short[:1]),
    ]
    logged = []
    for held in passes:
        summaries.held(held)
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        logged.append([(one["event"], one.get("variants"), one.get("count"), one.get("hint")) for one in lines])
    assert logged == [
        [("change.held", ["a-int4"], 1, "2 GB lack")],
        [("change.held", ["b-int4"], 1, "2 GB lack")],
        [("prune.held", ["c-int4"], 1, "--confirm")],
        [],
        [("prune.held", ["c-int4"], 1, "another --confirm")],
        [],
        [],
        [("change.held", ["a-int4"], 1, "2 GB lack")],
    ]


def test_a_wait_that_needs_nobody_is_no_warning_and_many_names_are_few(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_talkative", True)
    more = [Held(variant=f"{number:02}-int4", reason=Reason.BUDGET_SPENT, message="tomorrow") for number in range(30)]
    Summaries().held(more)
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["level"], line["count"], len(line["variants"])) == ("info", 30, 10)
