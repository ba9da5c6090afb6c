"""Which precision is recommended: one row for each reason."""

from typing import Any

import pytest

from reconciler.domain.gate_spec import GateSpec
from reconciler.gates.benchmark import Benched
from reconciler.gates.fidelity import FidelityGate
from reconciler.gates.judgement import judge
from reconciler.gates.recommendation import recommend
from tests.gates.bench_world import GIB, benched, fidelity, golden, run, whole

MEMORY = 16 * GIB

REJECTED = judge(GateSpec.of(FidelityGate(min_top1_agreement=0.97)), "int4", fidelity(0.95), None)


def small(**changes: Any) -> Benched:
    return benched("int4", **{"size_bytes": 2 * GIB, **changes})


def middle(**changes: Any) -> Benched:
    return benched("int8", **{"size_bytes": 4 * GIB, "fidelity": fidelity(0.99), **changes})


def large(**changes: Any) -> Benched:
    return benched("fp16", **{"size_bytes": 8 * GIB, "fidelity": fidelity(1.0), **changes})


# variants; which is chosen; words of the reason; words against another
CASES: dict[str, tuple[tuple[Benched, ...], str, str, str]] = {
    "the smallest of three that are good": (
        (large(), middle(), small()),
        "phi-int4",
        "the smallest that is good enough; agrees with its source on 95.0%",
        "4.0 times the size",
    ),
    "the order of the manifest does not matter": (
        (small(), large(), middle()),
        "phi-int4",
        "the smallest",
        "2.0 times the size",
    ),
    "an only one is not called the smallest": ((small(),), "phi-int4", "agrees with", ""),
    "gates reject the smallest": (
        (middle(), small(verdicts=REJECTED)),
        "phi-int8",
        "agrees with its source on 99.0%",
        "its gates reject it: fidelity: top-1 agreement 0.95, at least 0.97 wanted",
    ),
    "it says something else than its source": (
        (middle(), small(fidelity=fidelity(0.7))),
        "phi-int8",
        "",
        "agrees with its source on 70.0% of tokens, less than 90%",
    ),
    "none is near its source": (
        (middle(fidelity=fidelity(0.8)), small(fidelity=fidelity(0.7))),
        "phi-int8",
        "the nearest to its source, though it agrees on 80.0% of tokens only",
        "70.0%",
    ),
    "it was never compared, and nothing speaks against it": (
        (small(fidelity=None),),
        "phi-int4",
        "not compared with its source",
        "",
    ),
    "it answers fewer golden prompts": (
        (middle(golden=golden(True, True)), small(golden=golden(True, False))),
        "phi-int8",
        "2 of 2 golden prompts",
        "answers 1 golden prompts rightly where another answers 2",
    ),
    "it needs too much memory": (
        (large(runs=(run(peak=14 * GIB),)), middle()),
        "phi-int8",
        "",
        "needs 88% of this machine's memory, more than 80%",
    ),
    "it saves next to nothing": (
        (middle(size_bytes=2 * GIB + 1), small()),
        "phi-int8",
        "int8 is hardly larger than int4, and more exact",
        "int8 is hardly larger",
    ),
    "a larger one is much faster": (
        (middle(runs=(run(rate=60.0),)), small()),
        "phi-int8",
        "int8 is 3.0 times faster than int4",
        "3.0 times faster",
    ),
    "a larger one is a little faster": ((middle(runs=(run(rate=25.0),)), small()), "phi-int4", "", "2.0 times"),
    "it did not run": (
        (middle(), small(runs=(), problem=("RuntimeDied", "it died"))),
        "phi-int8",
        "",
        "could not be measured: it died",
    ),
    "it was interrupted before": ((middle(), small(runs=())), "phi-int8", "", "was not measured"),
    "nothing is left": ((small(verdicts=REJECTED),), "", "no precision can be served here", "its gates"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_recommendation(name: str) -> None:
    variants, chosen, reason, against = CASES[name]
    (found,) = recommend(variants, MEMORY)
    assert found.variant == chosen
    assert reason in found.reason
    assert set(found.against) == {one.variant for one in variants} - {chosen}
    assert not against or any(against in said for said in found.against.values())


def test_where_memory_is_unknown_it_rules_nothing_out() -> None:
    (found,) = recommend([small(runs=(run(peak=1000 * GIB),))], 0)
    assert found.variant == "phi-int4"


def test_each_model_gets_its_own() -> None:
    bench = whole()
    assert [(one.model, one.variant) for one in recommend(bench.variants, MEMORY)] == [("phi", "phi-int4"), ("odd", "")]
