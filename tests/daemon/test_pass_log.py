"""What the daemon logs of passes."""

import json

import pytest

from reconciler.daemon.pass_log import Summaries
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason


def test_what_begins_to_be_held_back_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    summaries = Summaries()
    short = [Held(variant=f"{name}-int4", reason=Reason.DISK_INSUFFICIENT, message="2 GB lack") for name in "ab"]
    gone = Held(variant="c-int4", reason=Reason.NOTHING_DECLARED, message="--confirm")
    failed = Held(variant="d-int4", reason=Reason.BACKOFF_ACTIVE, message="tried again at noon")
    ordered = Held(variant="e-int4", reason=Reason.DEPENDENCY_NOT_READY, message="after d")
    passes = [short[:1], short, [*short, gone, failed, ordered], [*short, gone], short[:1], [], short[:1]]
    logged = []
    for held in passes:
        summaries.held(held)
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        logged.append([(one["event"], one.get("variants"), one.get("hint")) for one in lines])
    assert logged == [
        [("change.held", ["a-int4"], "2 GB lack")],
        [("change.held", ["a-int4", "b-int4"], "2 GB lack")],
        [("prune.held", ["c-int4"], "--confirm")],
        [],
        [],
        [],
        [("change.held", ["a-int4"], "2 GB lack")],
    ]
