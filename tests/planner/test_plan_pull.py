"""Where a missing artifact comes from: converted here, pulled, or awaited."""

from dataclasses import replace

import pytest

from reconciler import __version__
from reconciler.domain.changes import Pull, pull_key
from reconciler.domain.failures import RememberedFailure, not_overcome
from reconciler.domain.machine.facts import serves_only
from reconciler.domain.machine.registries import Offer, RegistryAnswers
from reconciler.domain.reasons import Reason
from reconciler.domain.sources.locked import Fetch
from reconciler.planner.conditions import judge_source
from reconciler.planner.plan import make_plan
from tests.planner.test_plan import FETCH, HUB
from tests.planner.world import World, desired, release, wanted

BASE = release()
KEY = BASE.recipe.build_key
OFFER = Offer(registry="registry.example.com/models", digest="sha256:" + "a" * 64, missing=700)
HAS = RegistryAnswers(offers={KEY: OFFER})
DOWN = RegistryAnswers(unreached="registry.example.com/models: no connection", code="RegistryUnreachable")
NOTHING = RegistryAnswers()
ROOMY = World().with_observed(disk_free=1 << 30)
MISSING_SOURCE = wanted(BASE, fetch=FETCH)
UNSEEN = wanted(BASE, fetch=Fetch(source=HUB, missing=600, known=False))


def actions(world: World, *wants: object) -> list[str]:
    plan = world.plan(desired(*(wants or (BASE,))))  # type: ignore[arg-type]
    return [change.action for change in plan.changes] + [str(hold.reason) for hold in plan.held]


CASES = [
    ("local", HAS, ["convert", "verify", "register"]),
    ("prefer-registry", HAS, ["pull", "verify", "register"]),
    ("registry-only", HAS, ["pull", "verify", "register"]),
    ("prefer-registry", NOTHING, ["convert", "verify", "register"]),
    ("prefer-registry", DOWN, ["convert", "verify", "register"]),
    ("registry-only", NOTHING, ["AwaitingBuild"]),
    ("registry-only", DOWN, ["AwaitingBuild"]),
]


@pytest.mark.parametrize(("convert", "answers", "expected"), CASES)
def test_where_an_artifact_comes_from(convert: str, answers: RegistryAnswers, expected: list[str]) -> None:
    assert actions(ROOMY.with_observed(convert=convert, answers=answers)) == expected


def test_a_machine_that_cannot_convert_waits_and_says_why() -> None:
    """Whatever its configuration says (cli.configuration.traits)."""
    assert serves_only("linux", "arm64") == serves_only("windows", "amd64") == serves_only("darwin", "arm64") == ""
    why = serves_only("windows", "arm64")
    world = ROOMY.with_observed(convert="registry-only", serves_only=why, answers=NOTHING)
    [held] = world.plan(desired(BASE)).held
    assert held.message.endswith("no registry of this machine has it yet, and there is no PyTorch for Windows on Arm")


def test_a_pull_needs_no_source_and_has_its_price() -> None:
    world = ROOMY.with_observed(convert="registry-only", answers=HAS)
    [pull, *_] = world.plan(desired(MISSING_SOURCE)).changes
    assert isinstance(pull, Pull)
    assert (pull.offer, pull.cost.download_bytes, pull.cost.disk_bytes) == (OFFER, 700, 700)
    assert actions(world.with_observed(answers=NOTHING), MISSING_SOURCE) == ["AwaitingBuild"]
    assert actions(world, UNSEEN) == ["fetch"]  # its build key is not known before


def test_one_pull_for_all_that_share_a_build_key() -> None:
    other = replace(BASE, variant="rivers-int4", model="rivers")
    world = ROOMY.with_observed(convert="prefer-registry", answers=HAS)
    assert actions(world, BASE, other).count("pull") == 1


def test_a_pull_that_does_not_fit_is_held() -> None:
    world = World().with_observed(convert="registry-only", answers=HAS, disk_free=1000)
    assert actions(world) == ["DiskInsufficient"]


def test_what_is_awaited_is_named_and_what_serves_goes_on() -> None:
    served = ROOMY.converge(desired(release(block_size=64)))
    world = served.with_observed(convert="registry-only", answers=DOWN)
    plan = world.plan(desired(BASE))
    assert not plan
    [held] = plan.held
    assert held.reason is Reason.AWAITING_BUILD
    assert KEY in held.message
    assert "RegistryUnreachable" in held.message
    assert world.serving() == served.serving() != {}


def test_a_damaged_artifact_is_pulled_again() -> None:
    served = ROOMY.converge(desired(BASE))
    world = served.with_observed(artifacts={}, damaged_artifacts={KEY: ("model.onnx",)}, convert="registry-only")
    assert actions(world) == ["AwaitingBuild"]
    assert actions(world.with_observed(answers=HAS)) == ["pull"]


@pytest.mark.parametrize(
    ("convert", "expected"),
    [("registry-only", ["BackoffActive"]), ("prefer-registry", ["convert", "verify", "register"])],
)
def test_after_a_pull_that_failed(convert: str, expected: list[str]) -> None:
    failure = RememberedFailure(
        key=pull_key(KEY, OFFER),
        action="pull",
        variant=BASE.variant,
        code="DigestMismatch",
        message="other bytes came",
        hint="",
        attempts=1,
        first="2026-01-01T00:00:00Z",
        last="2026-01-01T00:00:00Z",
        permanent=False,
        version=__version__,
        delay=3600.0,
    )
    world = ROOMY.with_observed(convert=convert, answers=HAS)
    world = replace(world, recorded=replace(world.recorded, failures=(failure,)))
    plan = make_plan(desired(BASE), world.observed, world.recorded, now="2026-01-01T00:00:10Z")
    assert [c.action for c in plan.changes] + [str(h.reason) for h in plan.held] == expected
    another = RegistryAnswers(offers={KEY: replace(OFFER, digest="sha256:" + "b" * 64)})
    assert actions(world.with_observed(answers=another)) == ["pull", "verify", "register"]
    assert not_overcome((failure,), {KEY}, ()) == ()
    assert not_overcome((failure,), (), ()) == (failure,)


def test_whether_registries_answer_is_a_condition_of_the_machine() -> None:
    assert "RegistryReachable" not in judge_source((), (), {}, "2026-01-01T00:00:00Z")
    for answers, status, reason in ((NOTHING, "True", "Answered"), (DOWN, "False", "RegistryUnreachable")):
        found = judge_source((), (), {}, "2026-01-01T00:00:00Z", answers=answers)["RegistryReachable"]
        assert (found.status, found.reason) == (status, reason)
