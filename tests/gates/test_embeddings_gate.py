"""The embeddings gate: cosines, what is nearest, and that another bar needs no new measurement; and the load gate of
models for embeddings."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from reconciler.domain.errors import RehearsalFailed
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import Embedded, Measured, Numbers
from reconciler.domain.targets.tasks import CHAT, EMBEDDINGS
from reconciler.domain.verdict import Verdict
from reconciler.gates.embeddings import EmbeddingsGate, GoldenText, cosine
from reconciler.gates.judgement import gates_of
from reconciler.gates.load import LoadGate
from reconciler.gates.prompts import GoldenPrompt, PromptsGate
from reconciler.gates.runtime import MeasuringRuntime, RegisteredCandidate

UP, RIGHT = (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)
VECTORS = {"up": UP, "steep": (0.6, 0.8, 0.0), "right": RIGHT, "down": (0.0, -2.0, 0.0), "none": (0.0, 0.0, 0.0)}
HELD = Measured(release="", build_key="")
NEAREST = GoldenText(text="up", near="steep", among=("steep", "right", "down"))
NEAR = GoldenText(text="up", near="steep", at_least=0.8)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param("up", "up", 1.0, id="the same"),
        pytest.param("up", "steep", 0.8, id="an angle"),
        pytest.param("up", "right", 0.0, id="at a right angle"),
        pytest.param("up", "down", -1.0, id="opposite, and of another length"),
        pytest.param("up", "none", 0.0, id="no direction"),
    ],
)
def test_a_cosine(one: str, other: str, expected: float) -> None:
    assert math.isclose(cosine(VECTORS[one], VECTORS[other]), expected, abs_tol=1e-12)


def candidate(folder: Path | None = None, **vectors: tuple[float, ...]) -> RegisteredCandidate:
    known = VECTORS | vectors

    def embed(identity: str, texts: Sequence[str]) -> Embedded:
        found = tuple(known.get(text, known.get("any", RIGHT)) for text in texts)
        return Embedded(vectors=found, load_seconds=2.0, seconds=0.5)

    if folder is not None:
        (folder / "genai_config.json").write_text(json.dumps({"model": {"decoder": {}}}))
    runtime = SimpleNamespace(embed=embed, measure=lambda: (7, {"x": "1"}), memory=lambda: 1)
    return RegisteredCandidate(
        runtime=cast("MeasuringRuntime", runtime), folder=str(folder), name="x:1", task=EMBEDDINGS
    )


def judged(gate: EmbeddingsGate, held: Measured) -> list[Verdict]:
    return list(gate.judge(Numbers(precision="fp32", measured=held)))


def measured(*cases: GoldenText, **vectors: tuple[float, ...]) -> Measured:
    gate = EmbeddingsGate(cases=cases, min_pass=1)
    return replace(HELD, **gate.measure(candidate(**vectors), HELD))


RIGHT_OR_WRONG = {
    "the nearest": (NEAREST, {}, ""),
    "another is nearer": (NEAREST, {"down": UP}, 'wanted "steep" nearest (0.8), got "down" (1)'),
    "another is as near": (NEAREST, {"right": VECTORS["steep"]}, 'wanted "steep" nearest (0.8), got "right" (0.8)'),
    "near enough": (NEAR, {}, ""),
    "not near enough": (replace(NEAR, at_least=0.81), {}, "wanted a cosine of at least 0.81, got 0.8"),
}


@pytest.mark.parametrize("case", RIGHT_OR_WRONG)
def test_a_golden_text(case: str) -> None:
    golden, vectors, wrong = RIGHT_OR_WRONG[case]
    (verdict,) = judged(EmbeddingsGate(cases=(golden,), min_pass=1), measured(golden, **vectors))
    assert verdict.rejects is bool(wrong)
    assert wrong in verdict.message
    assert [wrong in miss for miss in verdict.misses] == [True] * bool(wrong)


def test_another_bar_judges_what_was_measured() -> None:
    held = measured(NEAREST)
    other = GoldenText(text="up", near="right", among=("right", "down"))
    gate = EmbeddingsGate(cases=(replace(NEAR, at_least=0.9), other), min_pass=2, dimensions=4)
    assert not gate.missing(Numbers(precision="", measured=held))
    dimensions, passed = judged(gate, held)
    assert (dimensions.number, dimensions.bar, dimensions.rejects) == (3.0, 4.0, True)
    assert (passed.number, passed.bar, passed.rejects) == (1.0, 2.0, True)
    assert [one.rejects for one in judged(replace(gate, min_pass=1, dimensions=3), held)] == [False, False]


def test_what_was_not_compared_is_open() -> None:
    gate = EmbeddingsGate(cases=(NEAREST, replace(NEAR, near="new")), min_pass=2)
    for held in (HELD, measured(NEAREST)):
        assert gate.missing(Numbers(precision="", measured=held))
        assert [one.status for one in judged(gate, held)] == ["Inconclusive"]
    told = replace(HELD, asked=tuple(measured(*gate.cases).answers))  # as an inventory says it
    assert [one.message for one in judged(gate, told)] == ["only the machine itself knows its cosines"]


NOTHING = {
    "zeros": {"up": (0.0, 0.0, 0.0)},
    "no number": {"up": (math.nan, 0.0, 0.0)},
    "without end": {"up": (math.inf, 0.0, 0.0)},
    "another length": {"up": (1.0, 0.0)},
    "no numbers at all": {"up": (), "steep": ()},
}


@pytest.mark.parametrize("case", NOTHING)
def test_what_is_no_embedding_is_refused(case: str) -> None:
    with pytest.raises(RehearsalFailed, match="embeds texts as nothing"):
        measured(NEAR, **NOTHING[case])


def test_a_model_that_embeds_all_texts_alike_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(RehearsalFailed, match="embeds all texts alike"):
        LoadGate().measure(candidate(tmp_path), HELD)
    load = LoadGate().measure(candidate(tmp_path, **{"Answer briefly.": UP}), HELD)["load"]
    assert (load.load_seconds, load.first_token_seconds, load.peak_memory_bytes) == (2.0, 0.5, 7)


def test_only_gates_that_can_judge_it_are_there() -> None:
    prompts = PromptsGate(cases=(GoldenPrompt(messages=(), check="exact", expected=""),), min_pass=1)
    golden = EmbeddingsGate(cases=(NEAR,), min_pass=1)
    names = {
        task: [one.name for one in gates_of(GateSpec.of(prompts, golden, task=task))] for task in (CHAT, EMBEDDINGS)
    }
    assert names[EMBEDDINGS] == ["load", "tokenizer", "embeddings"]
    assert names[CHAT] == ["fidelity", "load", "tokenizer", "decoding", "reference", "prompts"]
