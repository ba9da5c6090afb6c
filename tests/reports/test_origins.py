"""Where an artifact came from and who signed it, as `status`, `history` and `explain` show it."""

from dataclasses import replace

import pytest

from reconciler.domain.history import ROLLED_BACK, HistoryEntry, Rollback
from reconciler.domain.machine.trust import Origin
from reconciler.domain.recorded import Recorded
from reconciler.reports.explanation import explanation_text, variant_explained
from reconciler.reports.history import history_text, history_view
from reconciler.reports.status import make_status, status_text
from reconciler.state.progress import Scrubbed
from tests.planner.world import World, desired, release, wanted

BASE = release()
WORLD = World().converge(desired(BASE))
[ARTIFACT] = WORLD.observed.artifacts.values()
KEY = "sha256:" + "c" * 64
ORIGIN = Origin(
    artifact=ARTIFACT.digest,
    build_key=ARTIFACT.build_key,
    registry="ghcr.io/acme/models",
    signed_by=KEY,
    since="2026-11-29T00:00:00Z",
)
UNSIGNED = replace(ORIGIN, signed_by="")


def recorded(origin: Origin | None) -> Recorded:
    origins = {origin.artifact: origin} if origin else {}
    return replace(WORLD.recorded, origins=origins)


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (None, "this machine"),
        (ORIGIN, f"others: from ghcr.io/acme/models, signed by {KEY}"),
        (UNSIGNED, "others: from ghcr.io/acme/models, no signature counted"),
    ],
)
def test_explain(origin: Origin | None, text: str) -> None:
    view = variant_explained(wanted(BASE), recorded(origin), {}, ARTIFACT)
    shown = explanation_text({"variants": [view]})
    assert f"  built by   {text} ({ARTIFACT.digest})\n" in shown
    assert "built by" not in explanation_text({"variants": [variant_explained(wanted(BASE), recorded(None), {})]})


def test_history() -> None:
    past = HistoryEntry(
        number=1, digest=BASE.digest, release=BASE, artifact=ARTIFACT.digest, revision="r", registered="then"
    )
    for origins, lines in (({}, 2), ({ORIGIN.artifact: ORIGIN}, 3)):
        view = history_view(BASE.variant, (past,), serving=1, registered=(1,), artifacts=(), origins=origins)
        text = history_text(view)
        assert len(text.splitlines()) == lines
        assert (f"built by others: from ghcr.io/acme/models, signed by {KEY}" in text) == bool(origins)


@pytest.mark.parametrize("holds", [True, False])
def test_a_rollback_that_is_over_gives_no_way_out(holds: bool) -> None:
    """Also where an earlier version remembered the way out with it."""
    fields = {"digest": BASE.digest, "release": BASE, "artifact": "a", "revision": "r", "registered": "then"}
    good = HistoryEntry(number=1, **fields)
    rollback = Rollback(variant=BASE.variant, refused=(BASE.digest,), to=good, reason="it got worse", since="then")
    old = f"{rollback}; {BASE.digest[:19]} is not served until the manifest changes or `reconciler rollback x --undo`"
    for message in (str(rollback), old):
        past = HistoryEntry(number=2, outcome=ROLLED_BACK, message=message, **fields)
        held = rollback if holds else None
        view = history_view(BASE.variant, (past,), serving=1, registered=(), artifacts=(), rollback=held)
        text = history_text(view)
        assert f"{rollback}; " in text
        assert (text.count("--undo"), "that is over" in text) == (holds, not holds)


def test_status() -> None:
    [marker] = [folder.marker for folder in WORLD.observed.folders]
    assert marker is not None
    view = make_status(WORLD.observed, recorded(replace(ORIGIN, artifact=marker.artifact)), {}, Scrubbed(), {})
    [variant] = view["variants"]  # type: ignore[misc]
    assert variant["origin"] == {"registry": "ghcr.io/acme/models", "signedBy": KEY, "since": ORIGIN.since}
    whose = f"capitals-int4: built by others: from ghcr.io/acme/models, signed by {KEY}\n"
    assert whose in status_text(view)
    own = make_status(WORLD.observed, recorded(None), {}, Scrubbed(), {})
    [variant] = own["variants"]  # type: ignore[misc]
    assert variant["origin"] is None
    assert "built by" not in status_text(own)
    wrong = {"type": "BuildsTrusted", "status": "False", "reason": "Untrusted", "lastTransitionTime": "then"}
    view["conditions"] = [{**wrong, "message": "it is unsigned"}]
    assert "a build is not trusted since then (Untrusted): it is unsigned" in status_text(view)
