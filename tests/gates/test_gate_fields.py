"""What a comparison of two commits says of bars: as they are written, and what they were before anybody wrote them."""

from dataclasses import replace

import pytest

from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.targets.tasks import EMBEDDINGS, SPEECH
from reconciler.gates.embeddings import EmbeddingsGate, GoldenText
from reconciler.gates.endurance import EnduranceGate
from reconciler.gates.fidelity import FidelityGate
from reconciler.gates.judgement import gate_fields
from reconciler.gates.load import LoadGate
from reconciler.gates.performance import PerformanceGate
from reconciler.gates.prompts import MOST_CASES, GoldenPrompt, PromptsGate
from reconciler.gates.recording import Recording
from reconciler.gates.speech import GoldenRecording, SpeechGate
from reconciler.manifests.gate_schema import DECLARED, written_type


def case(asked: str, expected: str = "x") -> GoldenPrompt:
    return GoldenPrompt(messages=(("user", asked),), check="exact", expected=expected)


ONE = GateSpec.of(PromptsGate(cases=(case("a"),), min_pass=1))
MANY = PromptsGate(cases=tuple(case(str(number)) for number in range(MOST_CASES + 1)), min_pass=1)


@pytest.mark.parametrize(
    ("gates", "name", "said"),
    [
        (GateSpec(), "fidelity.maxMeanKL", "3 (int4) and 0.1 (int8), the default"),
        (GateSpec.of(FidelityGate(max_mean_kl=0.05)), "fidelity.maxMeanKL", 0.05),
        (GateSpec.of(FidelityGate(skip="odd")), "fidelity.skip", "odd"),
        (GateSpec.of(LoadGate(max_memory=3 << 29)), "load.maxMemory", "1536Mi"),
        (GateSpec.of(LoadGate(max_memory=4 << 40)), "load.maxMemory", "4Ti"),
        (GateSpec.of(PerformanceGate(max_time_to_first_token=0.3)), "performance.maxTimeToFirstToken", "0.3s"),
        (GateSpec.of(PerformanceGate()), "performance.onFail", "reject"),
        (GateSpec.of(EnduranceGate()), "endurance.maxMemoryGrowth", "64Mi"),
        (GateSpec.of(EnduranceGate(bad_input=False)), "endurance.badInput", False),
        (ONE, "prompts.minPass", "1 of 1"),
        (ONE, 'prompts."a"', 'exactly "x"'),
        (GateSpec.of(PromptsGate(cases=(case("a"), case("a", "y")), min_pass=1)), 'prompts."a" (2)', 'exactly "y"'),
        (GateSpec.of(PromptsGate(cases=(case("\x1b[2J"),), min_pass=1)), 'prompts."\\x1b[2J"', 'exactly "x"'),
    ],
)  # fmt: skip
def test_a_bar_as_it_is_written(gates: GateSpec, name: str, said: object) -> None:
    assert dict(gate_fields(gates, ("int4", "int8")))[f"spec.gates.{name}"] == said


def test_a_load_of_golden_prompts_is_one_line_that_changes_with_any() -> None:
    (line,) = (said for name, said in gate_fields(GateSpec.of(MANY), ()) if name.endswith(".cases"))
    assert str(line).startswith("21 golden prompts (sha256:")
    other = replace(MANY, cases=(*MANY.cases[:-1], case("20", "y")))
    assert line not in dict(gate_fields(GateSpec.of(other), ())).values()


def test_every_bar_is_called_as_in_yaml() -> None:
    everything = GateSpec.of(
        FidelityGate(skip="x"),
        LoadGate(max_memory=1 << 20),
        PerformanceGate(max_time_to_first_token=1.0, min_tokens_per_second=1.0, max_peak_memory=1 << 20),
        EnduranceGate(),
        *ONE.gates,
    )
    found = {name.removeprefix("spec.gates.") for name, _ in gate_fields(everything, ("int4",))}
    written = {
        f"{kind}.{field.alias}" for kind, gate in DECLARED.items() for field in written_type(gate).model_fields.values()
    }
    golden = EmbeddingsGate(cases=(GoldenText(text="a", near="b", at_least=0.5),), min_pass=1, dimensions=3)
    recording = GoldenRecording(name="a", audio=Recording.of(b""), check="exact", expected="b")
    speech = GateSpec.of(SpeechGate(cases=(recording,), min_pass=1), task=SPEECH)
    for other in (GateSpec.of(golden, task=EMBEDDINGS), speech):
        found |= {name.removeprefix("spec.gates.") for name, _ in gate_fields(other, ())}
    shown_by_text = {'prompts."a"', 'embeddings."a" and "b"', f'speech."a" (en, {recording.question[7:15]})'}
    assert found - shown_by_text == written - {"prompts.file", "prompts.cases", "embeddings.cases", "speech.cases"}
