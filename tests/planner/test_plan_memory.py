"""Conversions that do not fit into the memory are held before they begin, and others go on."""

import pytest

from reconciler.conversion.memory import predict_memory
from reconciler.domain.changes import Convert
from reconciler.domain.machine.facts import Memory
from reconciler.domain.recorded import Recorded
from reconciler.domain.sources.locked import Fetch, LockedSource
from reconciler.planner.plan import make_plan
from tests.conversion.test_memory import HALF, recipe, source
from tests.planner.world import World, desired, release, wanted

GIB = 1 << 30
NEEDS = {"int4": 2 * GIB, "int8": 3 * GIB, "fp16": 8 * GIB}


def planned(
    memory: Memory, *precisions: str, jobs: int = 1, running: tuple[str, ...] = ()
) -> tuple[list[str], list[str]]:
    """The variants that are converted, and the messages of those that are held."""
    wants = [wanted(release("m", precision), memory_bytes=NEEDS) for precision in precisions]
    seen = World().with_observed(memory=memory).observed
    keys = {f"m-{precision}": one.release.recipe.build_key for precision, one in zip(precisions, wants, strict=True)}
    plan = make_plan(desired(*wants), seen, Recorded(), jobs=jobs, running=[keys[name] for name in running])
    assert {hold.reason for hold in plan.held} <= {"MemoryInsufficient"}
    converted = [change.variant for change in plan.changes if isinstance(change, Convert)]
    return converted, [hold.message for hold in plan.held]


@pytest.mark.parametrize(
    ("memory", "fits"),
    [
        (Memory(), True),  # unknown
        (Memory(total=10 * GIB, free=10 * GIB), True),  # 80 % are 8 GiB
        (Memory(total=10 * GIB - 2, free=10 * GIB), False),
        (Memory(total=64 * GIB, free=8 * GIB), True),
        (Memory(total=64 * GIB, free=8 * GIB - 1), False),
        (Memory(total=64 * GIB, free=64 * GIB, limit=8 * GIB), True),
        (Memory(total=64 * GIB, free=64 * GIB, limit=8 * GIB - 1), False),
        (Memory(total=9 * GIB, free=9 * GIB, limit=8 * GIB), True),  # more than the share, as configured
        (Memory(total=64 * GIB, free=4 * GIB, limit=32 * GIB), False),
    ],
)
def test_what_decides(memory: Memory, fits: bool) -> None:
    converted, messages = planned(memory, "fp16")
    assert (converted == ["m-fp16"], len(messages)) == (fits, 0 if fits else 1)


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (
            Memory(total=5 * GIB, free=5 * GIB),
            "a conversion may hold 4.0 GiB, 80% of the memory: int4 needs 2.0 GiB or int8 needs 3.0 GiB; or a machine",
        ),
        (
            Memory(total=8 * GIB, free=GIB),
            "needs 8.0 GiB of memory, 1.0 GiB of 8.0 GiB are free: a machine with more memory would do",
        ),
        (
            Memory(total=64 * GIB, free=64 * GIB, limit=2 * GIB),
            "(--conversion-memory) allows 2.0 GiB, raise it where there is more: int4 needs 2.0 GiB",
        ),
    ],
)
def test_the_hold_names_both_figures_and_what_would_do(memory: Memory, words: str) -> None:
    assert words in planned(memory, "fp16")[1][0]


def test_one_that_does_not_fit_holds_no_other() -> None:
    converted, messages = planned(Memory(total=5 * GIB, free=5 * GIB), "fp16", "int4", "int8")
    assert (converted, len(messages)) == (["m-int4", "m-int8"], 1)


@pytest.mark.parametrize(
    ("total", "jobs", "running", "begun"),
    [
        (10, 1, (), ["m-fp16", "m-int4", "m-int8"]),  # one after the other
        (20, 3, (), ["m-fp16", "m-int4", "m-int8"]),  # 13 of 16 GiB
        (13, 2, (), ["m-fp16", "m-int4"]),  # 8 and 2 of 10.4 GiB at a time, but not 8 and 3
        (10, 2, (), ["m-fp16"]),
        (10, 2, ("m-fp16",), ["m-fp16"]),  # what runs has its memory, and the others wait for it
        (13, 2, ("m-int8",), ["m-int4", "m-int8"]),  # also those that come before it
    ],
)
def test_conversions_at_a_time_share_it(total: int, jobs: int, running: tuple[str, ...], begun: list[str]) -> None:
    memory = Memory(total=total * GIB, free=total * GIB)
    assert planned(memory, "fp16", "int4", "int8", jobs=jobs, running=running)[0] == begun


def test_what_runs_is_not_judged_again() -> None:
    assert planned(Memory(total=GIB, free=GIB), "fp16", running=("m-fp16",))[0] == ["m-fp16"]


def test_a_download_for_nothing_is_not_begun() -> None:
    source = LockedSource(repo="a/b", revision="0" * 40)
    fetch = Fetch(source=source, missing=10, known=True)
    seen = World().with_observed(memory=Memory(total=GIB, free=GIB)).observed
    plan = make_plan(desired(wanted(release(), memory_bytes=NEEDS, fetch=fetch)), seen, Recorded())
    assert ([hold.reason for hold in plan.held], plan.changes) == (["MemoryInsufficient"], ())


def test_what_serves_does_not_make_way_for_a_conversion_that_does_not_fit() -> None:
    served = World().converge(desired(release()))
    new = wanted(release(block_size=64), memory_bytes=NEEDS, delete_first=True)
    seen = served.with_observed(memory=Memory(total=GIB, free=GIB), disk_free=1).observed
    plan = make_plan(desired(new), seen, served.recorded)
    assert ([hold.reason for hold in plan.held], plan.changes) == (["MemoryInsufficient"], ())


HALF_A_BILLION = predict_memory(source(**HALF), recipe())  # bytes by precision


@pytest.mark.parametrize(
    ("total", "converted", "held"),
    [
        pytest.param(8, ["m-fp16", "m-int4", "m-int8"], [], id="all of it on 8 GiB"),
        pytest.param(4, ["m-int4", "m-int8"], ["needs 4.3 GiB of memory, a conversion may hold 3.2 GiB"], id="4 GiB"),
        pytest.param(1, [], ["a machine with more memory would do"], id="1 GiB"),
    ],
)
def test_half_a_billion_on_a_small_machine(total: int, converted: list[str], held: list[str]) -> None:
    """At the figures that are predicted for Qwen2 of 0.5 B (measured in tests/conversion/test_memory.py): what does not
    fit is said before anything begins, with what would do."""
    memory = Memory(total=total * GIB, free=total * GIB)
    wants = [wanted(release("m", name), memory_bytes=HALF_A_BILLION) for name in ("int4", "int8", "fp16")]
    plan = make_plan(desired(*wants), World().with_observed(memory=memory).observed, Recorded(), jobs=1)
    assert [change.variant for change in plan.changes if isinstance(change, Convert)] == converted
    messages = " ".join(hold.message for hold in plan.held)
    assert all(words in messages for words in held), messages
    assert len(plan.held) == 3 - len(converted)
