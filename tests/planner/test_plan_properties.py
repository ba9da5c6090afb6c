"""What must hold for every world: deterministic under input order, idempotent, converging, and the last good release
serves until its successor does."""

import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.domain.desired import Desired, DesiredRelease
from tests.planner.world import World, desired, release, wanted

MODELS = st.sampled_from(["alpha", "beta", "gamma"])
RELEASES = st.builds(
    release,
    MODELS,
    st.sampled_from(["int4", "int8"]),
    source=st.sampled_from(["sha256:one", "sha256:two"]),
    block_size=st.sampled_from([32, 128]),
    template=st.sampled_from(["{{ a }}", "{{ b }}"]),
    temperature=st.sampled_from([None, 0.5]),
)
DESIRED = st.lists(RELEASES, max_size=5, unique_by=lambda one: one.variant).map(lambda all_: desired(*all_))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A machine that followed some history and then lost things behind our back."""
    world = World()
    for want in draw(st.lists(DESIRED, max_size=3)):
        world = world.converge(want)
    observed = world.observed
    keep = draw(st.randoms(use_true_random=False))
    world = world.with_observed(
        folders=tuple(f for f in observed.folders if keep.random() > 0.2),
        registrations=tuple(r for r in observed.registrations if keep.random() > 0.2),
        artifacts={k: a for k, a in observed.artifacts.items() if keep.random() > 0.2},
    )
    return world.damaged("model.onnx") if keep.random() < 0.2 else world


@given(worlds(), DESIRED)
@settings(max_examples=100, deadline=None)
def test_one_pass_converges_and_a_second_has_nothing_to_do(world: World, want: Desired) -> None:
    after = world.converge(want)
    assert not after.plan(want, confirm=True)
    assert after.serving() == {w.variant: {w.release.digest} for w in want.wanted}


@given(worlds(), DESIRED, st.integers())
@settings(max_examples=60, deadline=None)
def test_the_plan_does_not_depend_on_the_order_of_its_input(world: World, want: Desired, seed: int) -> None:
    shuffled = list(want.wanted)
    random.Random(seed).shuffle(shuffled)
    mixed = world.with_observed(
        folders=tuple(reversed(world.observed.folders)),
        registrations=tuple(reversed(world.observed.registrations)),
        artifacts=dict(reversed(world.observed.artifacts.items())),
    )
    assert mixed.plan(desired(*map(_again, shuffled))) == world.plan(want)


def _again(one: DesiredRelease) -> DesiredRelease:
    return wanted(one.release)


@given(worlds(), DESIRED)
@settings(max_examples=100, deadline=None)
def test_what_serves_goes_on_serving_until_its_successor_does(world: World, want: Desired) -> None:
    served_before = {variant for variant in world.serving() if variant in want.declared}
    models_before = _models(world.serving()) & _models(want.declared)
    for change in world.plan(want, confirm=True).changes:
        world = world.carry_out(change, want)
        assert served_before <= world.serving().keys()
        assert models_before <= _models(world.serving())  # at another precision, if need be


def _models(variants: Iterable[str]) -> set[str]:
    return {variant.rpartition("-")[0] for variant in variants}


@given(worlds(), DESIRED)
@settings(max_examples=60, deadline=None)
def test_a_plan_that_stops_anywhere_is_finished_by_the_next(world: World, want: Desired) -> None:
    changes = world.plan(want, confirm=True).changes
    for stop in range(len(changes)):
        partial = world
        for change in changes[:stop]:
            partial = partial.carry_out(change, want)
        after = partial.converge(want)
        assert not after.plan(want, confirm=True)
