"""What a comparison of two commits says of bars: as they are written, and what they were before anybody wrote them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.bars import (
    EnduranceGate,
    FidelityGate,
    Gates,
    GoldenPrompt,
    LoadGate,
    PerformanceGate,
    PromptsGate,
)
from reconciler.gates.fields import MOST_CASES, gate_fields
from reconciler.manifests.gate_schema import (
    EnduranceBars,
    FidelityBars,
    LoadBars,
    PerformanceBars,
    PromptBars,
)


def case(asked: str, expected: str = "x") -> GoldenPrompt:
    return GoldenPrompt(messages=(("user", asked),), check="exact", expected=expected)


ONE = Gates(prompts=PromptsGate(cases=(case("a"),), min_pass=1))
MANY = PromptsGate(cases=tuple(case(str(number)) for number in range(MOST_CASES + 1)), min_pass=1)


@pytest.mark.parametrize(
    ("gates", "name", "said"),
    [
        (Gates(), "fidelity.maxMeanKL", "3 (int4) and 0.1 (int8), the default"),
        (Gates(fidelity=FidelityGate(max_mean_kl=0.05)), "fidelity.maxMeanKL", 0.05),
        (Gates(fidelity=FidelityGate(skip="odd")), "fidelity.skip", "odd"),
        (Gates(load=LoadGate(max_memory=3 << 29)), "load.maxMemory", "1536Mi"),
        (Gates(load=LoadGate(max_memory=4 << 40)), "load.maxMemory", "4Ti"),
        (Gates(performance=PerformanceGate(max_time_to_first_token=0.3)), "performance.maxTimeToFirstToken", "0.3s"),
        (Gates(performance=PerformanceGate()), "performance.onFail", "reject"),
        (Gates(endurance=EnduranceGate()), "endurance.maxMemoryGrowth", "64Mi"),
        (Gates(endurance=EnduranceGate(bad_input=False)), "endurance.badInput", False),
        (ONE, "prompts.minPass", "1 of 1"),
        (ONE, 'prompts."a"', 'exactly "x"'),
        (Gates(prompts=PromptsGate(cases=(case("a"), case("a", "y")), min_pass=1)), 'prompts."a" (2)', 'exactly "y"'),
        (Gates(prompts=PromptsGate(cases=(case("\x1b[2J"),), min_pass=1)), 'prompts."\\x1b[2J"', 'exactly "x"'),
    ],
)  # fmt: skip
def test_a_bar_as_it_is_written(gates: Gates, name: str, said: object) -> None:
    assert dict(gate_fields(gates, ("int4", "int8")))[f"spec.gates.{name}"] == said


def test_a_load_of_golden_prompts_is_one_line_that_changes_with_any() -> None:
    (line,) = (said for name, said in gate_fields(Gates(prompts=MANY), ()) if name.endswith(".cases"))
    assert str(line).startswith("21 golden prompts (sha256:")
    other = replace(MANY, cases=(*MANY.cases[:-1], case("20", "y")))
    assert line not in dict(gate_fields(Gates(prompts=other), ())).values()


def test_every_bar_is_called_as_in_yaml() -> None:
    everything = Gates(
        fidelity=FidelityGate(skip="x"),
        load=LoadGate(max_memory=1 << 20),
        performance=PerformanceGate(
            max_time_to_first_token=1.0, min_tokens_per_second=1.0, max_peak_memory=1 << 20
        ),
        endurance=EnduranceGate(),
        prompts=ONE.prompts,
    )
    found = {name.removeprefix("spec.gates.") for name, _ in gate_fields(everything, ("int4",))}
    kinds = {
        "fidelity": FidelityBars,
        "load": LoadBars,
        "performance": PerformanceBars,
        "endurance": EnduranceBars,
        "prompts": PromptBars,
    }
    written = {
        f"{kind}.{field.alias}" for kind, bars in kinds.items() for field in bars.model_fields.values()
    }
    assert found - {'prompts."a"'} == written - {"prompts.file", "prompts.cases"}
