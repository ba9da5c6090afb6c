"""One word for what is done with a ready ONNX model, wherever people read it: take. `action` is for programs."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.domain.changes import Change
from reconciler.domain.failures import held_by, remember
from reconciler.domain.plan import Outcome
from reconciler.planner.conditions import judge
from reconciler.planner.plan import make_plan
from reconciler.reports.diff_render import diff_github, diff_text
from reconciler.reports.drift import find_drift
from reconciler.reports.machine.states import state_of
from reconciler.reports.pull_request import diff_comment, plan_comment
from reconciler.reports.render import MOST_LEFT, pass_text, plan_github, plan_text
from reconciler.reports.status import working_lines
from reconciler.reports.text import event_type
from reconciler.reports.view import change_view, pass_view, plan_view
from tests.diff.test_comment import model, view
from tests.planner.world import World, desired, release

NOW = "2026-11-30T10:00:00Z"
NEW = release()
WANT = desired(replace(NEW, recipe=replace(NEW.recipe, tools={})))
PLAN = make_plan(WANT, World().observed, World().recorded)
TAKE = PLAN.changes[0]
NOTE = {"action": "convert", "word": "take", "variant": "a-int4", "since": NOW, "fraction": 0.5, "text": "x"}
WORKING = {"pid": 1, "command": "run", "since": NOW, "jobs": [NOTE]}


def in_diff(render: Callable[[object], str]) -> str:
    """`diff` leaves out what a change leaves behind, but for the fields that force it."""
    change = change_view(TAKE) | {"before": {}, "after": {}, "forcedBy": []}
    return render(view(model("a", changes=[change], fields=[])))


def failure(change: Change) -> str:
    (one,) = remember((), Outcome(change=change, status="failed", code="X", message="no", permanent=True), NOW)
    held = held_by(one, "a-int4", NOW)
    assert held is not None
    return held.message


def condition() -> str:
    key = WANT.wanted[0].release.recipe.build_key
    found = judge(WANT, World().observed, {}, PLAN, {}, NOW, running={key: "take"})["capitals-int4"]["Reconciling"]
    return f"{found.reason} {found.message}"


SAID = {
    "plan": lambda: plan_text(plan_view(PLAN)),
    "what a pass leaves": lambda: pass_text(pass_view((), PLAN, (), converged=False)),
    "plan for a pull request": lambda: plan_comment(plan_view(PLAN)),
    "plan as annotations": lambda: plan_github(plan_view(PLAN)),
    "diff": lambda: in_diff(diff_text),
    "diff for a pull request": lambda: in_diff(diff_comment),
    "diff as annotations": lambda: in_diff(diff_github),
    "drift": lambda: str([*find_drift(WANT, World().observed, World().recorded, PLAN, {})]),
    "status, while it is done": lambda: "".join(working_lines(WORKING)),
    "the machine's page": lambda: str(state_of({"conditions": [], "suspension": None}, [NOTE])["word"]),
    "a condition": condition,
    "a failure": lambda: failure(TAKE),
    "events": lambda: event_type({"type": "convert.done", "word": "take"}),
}


@pytest.mark.parametrize("case", SAID)
def test_a_ready_model_is_taken(case: str) -> None:
    said = SAID[case]().lower()
    assert "tak" in said
    assert "convert" not in said


def test_what_a_pass_leaves_is_named_up_to_a_number() -> None:
    said = pass_text(pass_view((), replace(PLAN, changes=(TAKE,) * (MOST_LEFT + 2)), (), converged=False)).splitlines()
    assert said[0] == f". left: take capitals-int4 (ArtifactMissing): {TAKE.reason.text}"
    assert said[MOST_LEFT:] == [
        ". left: 2 more, which `reconciler plan` shows",
        f"Not converged: {MOST_LEFT + 2} changes left for the next `reconciler apply`.",
    ]


def test_programs_find_the_action_they_know_with_the_word_beside_it() -> None:
    assert {name: change_view(TAKE)[name] for name in ("action", "word")} == {"action": "convert", "word": "take"}
    assert {change_view(one)["word"] for one in PLAN.changes[1:]} == {one.action for one in PLAN.changes[1:]}


def test_a_failure_that_an_earlier_version_wrote_ends_when_it_is_taken() -> None:
    (one,) = remember((), Outcome(change=TAKE, status="failed", code="X", message="no", permanent=True), NOW)
    for written in (one, replace(one, action="convert")):
        assert remember((written,), Outcome(change=TAKE, status="done"), NOW) == ()
