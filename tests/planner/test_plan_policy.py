"""What a policy denies gets no new release; what serves goes on, or goes where the policy retires it. Pure."""

from dataclasses import replace

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.plan import Plan
from reconciler.domain.policy.policy import PolicyDenial
from reconciler.domain.reasons import Reason
from reconciler.domain.sources.locked import Fetch, LockedSource
from reconciler.planner.conditions import judge
from tests.planner.world import World, desired, release, wanted

DENIAL = PolicyDenial(message="policy house: no")
LATER = PolicyDenial(message="policy house: not known yet", fetches=True)
NEW = release(template="another")


def denied(one: DesiredRelease | None = None, denial: PolicyDenial = DENIAL) -> DesiredRelease:
    return replace(one or wanted(), denial=denial)


def steps(plan: Plan) -> tuple[list[str], list[tuple[str, str]]]:
    return [change.action for change in plan.changes], [(one.reason, one.message) for one in plan.held]


def ready(world: World, want: Desired) -> tuple[str, str, str]:
    plan = world.plan(want)
    found = judge(want, world.observed, {}, plan, {}, "2027-01-01T00:00:00Z")["capitals-int4"]
    return found["Ready"].status, found["Ready"].reason, found["Ready"].message


def test_nothing_is_made_of_what_is_denied() -> None:
    assert steps(World().plan(desired(denied()))) == ([], [("PolicyDenied", DENIAL.message)])
    assert ready(World(), desired(denied()))[:2] == ("False", "PolicyDenied")


def test_what_serves_goes_on_and_is_repaired() -> None:
    world = World().converge(desired(release()))
    assert steps(world.plan(desired(denied()))) == (
        [],
        [("PolicyDenied", "capitals-int4:1 is served, and goes on: policy house: no")],
    )
    assert ready(world, desired(denied()))[:2] == ("True", "Served")
    [folder] = world.observed.folders
    damaged = replace(
        world, observed=replace(world.observed, folders=(replace(folder, damage=("model.onnx changed",)),))
    )
    assert steps(damaged.plan(desired(denied())))[0] == ["repair"]


def test_its_successor_is_not_served() -> None:
    world = World().converge(desired(release()))
    want = desired(denied(wanted(NEW)))
    assert steps(world.plan(want)) == ([], [("PolicyDenied", DENIAL.message)])
    assert ready(world, want) == ("False", "PolicyDenied", "policy house: no; capitals-int4:1 still serves")
    assert [one.number for one in world.converge(want).observed.registrations] == [1]


def test_a_source_comes_where_its_files_decide() -> None:
    source = LockedSource(repo="acme/phi", revision="0" * 40)
    coming, large = wanted(fetch=Fetch(source=source, missing=100, known=True)), World()
    large = replace(large, observed=replace(large.observed, disk_free=1 << 40))
    assert steps(large.plan(desired(denied(coming, LATER)))) == (["fetch"], [])
    assert steps(large.plan(desired(denied(coming)))) == ([], [("PolicyDenied", DENIAL.message)])
    assert steps(World().plan(desired(denied(denial=LATER)))) == ([], [("PolicyDenied", LATER.message)])


def test_what_a_policy_retires_is_pruned_as_if_it_were_not_declared() -> None:
    others = [release("b"), release("c")]
    world = World().converge(desired(release(), *others))
    kept = desired(*others)
    want = replace(kept, retired={"capitals-int4": "policy house: no"})
    plan = world.plan(want)
    assert [(one.action, one.variant, one.reason) for one in plan.changes if one.variant] == [
        ("prune", "capitals-int4", Reason.POLICY_DENIED)
    ]
    assert steps(plan)[1] == [("PolicyDenied", "policy house: no")]
    assert ready(world, want)[:2] == ("False", "PolicyDenied")


def test_a_policy_that_would_retire_most_models_waits_for_a_person() -> None:
    world = World().converge(desired(release(), release("b")))
    plan = world.plan(replace(desired(), retired={"capitals-int4": "no", "b-int4": "no"}))
    assert plan.changes == ()
    assert {one.reason for one in plan.held} == {Reason.NOTHING_DECLARED, Reason.POLICY_DENIED}
