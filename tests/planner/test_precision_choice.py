"""`precisions: auto`: which precision a machine takes, as a table of machines and models; and what that makes of a
desired state."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.domain.desired import Desired
from reconciler.domain.errors import Problem
from reconciler.domain.machine.precision_choice import Capacity, Choosing, PrecisionNeeds
from reconciler.planner.conditions import judge, judge_kept, judge_source
from reconciler.planner.plan import make_plan
from reconciler.planner.precision_choice import Choice, choose, chosen_for
from reconciler.reports.pull_request import plan_comment
from reconciler.reports.render import plan_text
from reconciler.reports.view import plan_view
from tests.planner.world import World, desired, release, wanted

GIB = 1 << 30
CPU = "CPUExecutionProvider"


def needs(memory: float, **others: float) -> PrecisionNeeds:
    """In GiB; the files are what serving holds, less a fifth for the context."""
    given = {"cache": memory / 5, "disk": memory * 0.8, "read": memory * 0.8, **others}
    converting = {"conversion_memory": memory * 2, "conversion_disk": memory * 3}
    return PrecisionNeeds(
        memory=int(memory * GIB), provider=CPU, **{name: int(size * GIB) for name, size in (converting | given).items()}
    )


MODEL = {"int4": needs(1.25), "int8": needs(2.0), "fp32": needs(6.0)}
LARGE = Capacity(memory=64 * GIB, disk=500 * GIB, cpus=64, providers=(CPU,), converts=True, conversion_memory=51 * GIB)
SERVES = replace(LARGE, converts=False)


@pytest.mark.parametrize(
    ("capacity", "precision"),
    [
        (LARGE, "fp32"),
        (replace(LARGE, memory=7 * GIB), "int8"),  # 80 % are 5.6 GiB
        (replace(SERVES, memory=2 * GIB), "int4"),
        (replace(SERVES, memory=GIB), ""),
        (replace(SERVES, memory=0), "fp32"),  # unknown
        (replace(LARGE, cpus=8), "int8"),  # fp32: 3.3 tokens a second
        (replace(LARGE, cpus=3), "int4"),  # 6 tokens a second, int8 would do 3.8
        (replace(LARGE, cpus=1), "int4"),  # none is as fast as people read
        (replace(LARGE, disk=16 * GIB), "int8"),  # 18 for the conversion of fp32
        (replace(SERVES, disk=16 * GIB), "fp32"),
        (replace(SERVES, disk=GIB), "int4"),
        (replace(SERVES, disk=0), "fp32"),
        (replace(LARGE, conversion_memory=3 * GIB), "int4"),
        (replace(SERVES, conversion_memory=3 * GIB), "fp32"),
        (replace(LARGE, providers=()), ""),
    ],
)
def test_what_decides(capacity: Capacity, precision: str) -> None:
    assert choose(MODEL, capacity, {}).precision == precision


def test_a_gpu_is_fast_enough_where_there_is_one() -> None:
    """How fast the processors are says nothing then."""
    model = {name: replace(one, provider="CUDAExecutionProvider") for name, one in MODEL.items()}
    slow = replace(SERVES, cpus=1)
    assert choose(MODEL, slow, {}).precision == "int4"
    assert choose(model, replace(slow, providers=(CPU, "CUDAExecutionProvider")), {}).precision == "fp32"
    assert "wants CUDAExecutionProvider, which is not here" in choose(model, slow, {}).text


@pytest.mark.parametrize(
    ("capacity", "text"),
    [
        (LARGE, "fp32: 6.0 GiB of 64.0 GiB; more faithful than int8 and int4"),
        (
            replace(SERVES, memory=2 * GIB),
            (
                "int4: 1.2 GiB of 2.0 GiB; fp32 would need 6.0 GiB of memory, more than 80% of 2.0 GiB; "
                "int8 would need 2.0 GiB of memory, more than 80% of 2.0 GiB"
            ),
        ),
        (
            replace(LARGE, cpus=8),
            (
                "int8: 2.0 GiB of 64.0 GiB; more faithful than int4; "
                "fp32 would answer slower than people read (some 3.3 tokens/s with 8 processors)"
            ),
        ),
        (
            replace(LARGE, cpus=1),
            (
                "int4: 1.2 GiB of 64.0 GiB, the smallest, because none answers as fast as people read; "
                "fp32 would answer slower than people read (some 0.4 tokens/s with 1 processors); "
                "int8 would answer slower than people read (some 1.3 tokens/s with 1 processors)"
            ),
        ),
        (
            replace(LARGE, providers=()),
            (
                "fp32 wants CPUExecutionProvider, which is not here; "
                "int8 wants CPUExecutionProvider, which is not here; int4 wants CPUExecutionProvider, which is not here"
            ),
        ),
    ],
)
def test_the_reason(capacity: Capacity, text: str) -> None:
    assert choose(MODEL, capacity, {}).text == text


def test_a_long_context_is_named() -> None:
    long = {"int4": needs(100.0, cache=95.0)}
    assert choose(long, SERVES, {}) == Choice(
        precision="",
        text="int4 would need 100.0 GiB of memory, 95.0 GiB of it for its context, more than 80% of 64.0 GiB",
    )


def test_what_is_ruled_out_is_named_and_not_taken() -> None:
    left = {"int4": MODEL["int4"]}
    assert choose(left, LARGE, {"int8": "is not allowed by policy house"}).text == (
        "int4: 1.2 GiB of 64.0 GiB; int8 is not allowed by policy house"
    )


def declared(**found: PrecisionNeeds | None) -> Desired:
    """`capitals` may be any of these, and `other` is what it is."""
    some = [wanted(release(precision=name), needs=one) for name, one in found.items()]
    choosing = Choosing(file="capitals.yaml", line=7, allowed=tuple(found))
    return replace(desired(*some, release("other")), choosing={"capitals": choosing})


def test_one_of_them_is_wanted() -> None:
    found = chosen_for(declared(**MODEL), replace(SERVES, memory=2 * GIB))
    assert [one.variant for one in found.wanted] == ["capitals-int4", "other-int4"]
    assert found.declared == {"capitals-int4", "other-int4"}
    assert found.chosen["capitals"].startswith("int4: 1.2 GiB of 2.0 GiB")
    assert not found.unresolved
    assert chosen_for(found, SERVES) == found


@pytest.mark.parametrize(
    ("lacking", "code", "said"),
    [
        ({"memory": GIB}, "NoPrecisionFits", "int4 would need 1.2 GiB of memory"),
        ({"providers": frozenset({"DmlExecutionProvider"})}, "ProviderAbsent", "; here is DmlExecutionProvider"),
    ],
)
def test_where_none_fits_what_serves_stays(lacking: dict[str, Any], code: str, said: str) -> None:
    before = declared(**MODEL)
    served = World().converge(chosen_for(before, SERVES))
    found = chosen_for(before, replace(SERVES, **lacking))
    assert [one.variant for one in found.wanted] == ["other-int4"]
    assert found.declared == before.declared
    problem = found.unresolved["capitals-int4"]
    assert isinstance(problem, Problem)
    assert (problem.code, problem.file, problem.line) == (code, "capitals.yaml", 7)
    assert said in problem.message
    assert judge_source((problem,), (), {}, "2026-01-01T00:00:00Z")["ManifestsValid"].status == "True"
    assert served.plan(found).changes == ()


def test_until_its_source_is_known_the_smallest_stands_for_it() -> None:
    found = chosen_for(declared(int8=None, int4=None), LARGE)
    assert [one.variant for one in found.wanted] == ["capitals-int4", "other-int4"]
    assert "reconciler lock" in found.chosen["capitals"]


def test_the_other_one_serves_until_the_chosen_one_does() -> None:
    before = declared(**MODEL)
    served = World().converge(chosen_for(before, SERVES))
    smaller = chosen_for(before, replace(SERVES, memory=2 * GIB))
    plan = served.plan(smaller)
    assert [(one.variant, one.reason) for one in plan.held] == [("capitals-fp32", "AwaitingPrecision")]
    after = served
    for change in plan.changes:
        after = after.carry_out(change, smaller)
    assert set(after.serving()) == {"capitals-fp32", "capitals-int4", "other-int4"}
    prune = after.plan(smaller).changes[0]
    assert (prune.action, prune.reason, prune.variant) == ("prune", "PrecisionChanged", "capitals-fp32")


def test_the_reason_stands_in_plan_and_conditions() -> None:
    want = chosen_for(declared(**MODEL), SERVES)
    world = World()
    plan = world.plan(want)
    assert ". capitals: precision fp32: 6.0 GiB of 64.0 GiB" in plan_text(plan_view(plan))
    assert "- capitals: precision fp32: 6.0 GiB of 64.0 GiB" in plan_comment(plan_view(plan))
    conditions = judge(want, world.observed, {}, plan, {}, "2027-01-01T00:00:00Z")
    assert conditions["capitals-fp32"]["PrecisionChosen"].message == want.chosen["capitals"]
    assert "PrecisionChosen" not in conditions["other-int4"]


def test_a_precision_that_is_no_longer_named_serves_until_one_that_is_does() -> None:
    """Whether `auto` chose the other one or a person wrote it."""
    before, after = desired(release("capitals")), desired(release("capitals", precision="int8"))
    served = World().converge(before)
    plan = served.plan(after)
    assert [(one.variant, one.reason) for one in plan.held] == [("capitals-int4", "AwaitingPrecision")]
    assert "it serves until capitals-int8 does" in plan.held[0].message
    kept = judge_kept(plan, served.observed, {}, "2027-01-01T00:00:00Z")["capitals-int4"]
    assert {name: (one.status, one.reason) for name, one in kept.items()} == {
        "Ready": ("True", "AwaitingPrecision"),
        "Reconciling": ("True", "AwaitingPrecision"),
        "Stalled": ("False", "Progressing"),
        "Serving": ("True", "Registered"),
    }
    rejected = replace(after, wanted=(), unresolved={"capitals-int8": problem()})
    assert [one.reason for one in served.plan(rejected).held] == ["AwaitingPrecision"]
    end = make_plan(after, served.observed, served.recorded, to_the_end=True)
    *_, register, prune, artifact = [(one.action, one.reason, one.variant) for one in end.changes]
    assert (register[0], prune, artifact[0]) == ("register", ("prune", "Orphaned", "capitals-int4"), "prune")
    assert end.held == ()
    denied = replace(after, retired={"capitals-int4": "a policy"})
    assert "prune" in {one.action for one in served.plan(denied).changes}
    assert set(served.converge(after).serving()) == {"capitals-int8"}


def test_an_earlier_release_of_a_precision_that_is_named_is_enough() -> None:
    """Else a commit that drops one precision and changes the other would wait for the disk that it gives back."""
    both = World().converge(desired(release("capitals"), release("capitals", precision="int8")))
    newer = desired(release("capitals", precision="int8", source="sha256:new"))
    plan = both.with_observed(disk_free=400).plan(newer)
    assert (plan.changes[0].action, plan.changes[0].variant) == ("prune", "capitals-int4")
    lost = replace(newer, wanted=(), unresolved={"capitals-int8": problem()})
    assert [one.variant for one in both.plan(lost).changes] == ["capitals-int4"]


def test_it_makes_way_where_that_is_declared_and_the_disk_holds_only_one() -> None:
    before, after = desired(release("capitals")), desired(release("capitals", precision="int8"))
    served = World().converge(before).with_observed(disk_free=400)
    assert {one.reason for one in served.plan(after).held} == {"AwaitingPrecision", "DiskInsufficient"}
    first = replace(after, wanted=tuple(replace(one, delete_first=True) for one in after.wanted))
    assert [one.action for one in served.plan(first).changes][:1] == ["prune"]


def problem() -> Problem:
    return Problem(code="SourceUnreadable", file="capitals.yaml", line=7, message="it is gone")
