"""GateSpec as authors write them: what they become, and each way of getting them wrong."""

import json
import posixpath
from dataclasses import replace

import pytest

from reconciler.domain.gate_spec import GateSpec
from reconciler.gates.endurance import EnduranceGate
from reconciler.gates.fidelity import FidelityGate
from reconciler.gates.load import LoadGate
from reconciler.gates.performance import PerformanceGate
from reconciler.gates.prompts import GoldenPrompt, PromptsGate
from reconciler.gates.recording import a_tone
from reconciler.gates.speech import SpeechGate
from reconciler.manifests.golden import files as golden_files
from reconciler.manifests.parse import parse
from reconciler.manifests.parsed import Parsed
from tests.manifests.test_parse import TEMPLATES, around, model, parsed, said

LINES = '{"prompt": "France?", "exact": "Paris."}\n\n{"messages": [{"role": "user", "content": "Q"}], "regex": "^P"}\n'


def gates(*written: str, files: dict[str, str] | None = None) -> list[str] | GateSpec:
    """What a model with these gates declares, or what is said of it."""
    held = TEMPLATES | {f"/repo/manifests/{name}": text.encode() for name, text in (files or {}).items()}
    result = parsed({"a.yaml": model("phi", f"gates: [{', '.join(written)}]")}, templates=held)
    return result.models[0].gates if result.models else said(result)


def test_without_any_fidelity_and_load_are_asked_for() -> None:
    (found,) = parsed({"a.yaml": model()}).models
    assert found.gates == GateSpec() == GateSpec.of(FidelityGate(), LoadGate())


def test_every_bar_is_read() -> None:
    found = gates(
        "fidelity: {minTop1Agreement: 0.9, maxMeanKL: 0.05, maxPerplexityRatio: 1.2, maxWiringKL: 0.02}",
        "load: {maxMemory: 512Mi}",
        "prompts: {file: g.jsonl, minPass: 1, maxTokens: 8, greedy: false}",
        "performance: {promptLengths: [16, 32, 16], maxTimeToFirstToken: 300ms, minTokensPerSecond: 5, "
        "maxPeakMemory: 4Gi, onFail: warn}",
        "endurance: {requests: 9, maxMemoryGrowth: 1Mi, maxLatencyDrift: 3, badInput: false}",
        files={"g.jsonl": LINES},
    )
    assert found == GateSpec.of(
        FidelityGate(min_top1_agreement=0.9, max_mean_kl=0.05, max_perplexity_ratio=1.2, max_wiring_kl=0.02),
        LoadGate(max_memory=512 << 20),
        PromptsGate(
            cases=(
                GoldenPrompt(messages=(("user", "France?"),), check="exact", expected="Paris."),
                GoldenPrompt(messages=(("user", "Q"),), check="regex", expected="^P"),
            ),
            min_pass=1,
            max_tokens=8,
            greedy=False,
        ),
        PerformanceGate(
            prompt_lengths=(16, 32),
            max_time_to_first_token=0.3,
            min_tokens_per_second=5.0,
            max_peak_memory=4 << 30,
            on_fail="warn",
        ),
        EnduranceGate(requests=9, max_memory_growth=1 << 20, max_latency_drift=3.0, bad_input=False),
    )


def test_numbers_and_flags_of_a_schema_are_read_as_such() -> None:
    found = gates("prompts: {cases: [{prompt: q, jsonSchema: {type: object, required: [a], minimum: 2}}]}")
    assert isinstance(found, GateSpec)
    prompts = found.get(PromptsGate)
    assert prompts is not None
    assert json.loads(prompts.cases[0].expected) == {"type": "object", "required": ["a"], "minimum": 2}


AT = "manifests/a.yaml:7: spec.gates"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", f"{AT}: expected at least one gate, got an empty list"),
        ("fidelity: {}, load: {}", ""),
        ("{fidelity: {}, load: {}}", "[0]: expected one of fidelity, load, tokenizer, decoding, reference,"),
        ("load: {}, load: {}", "[1].load: expected each gate once, got load again"),
        ("loadd: {}", "decoding, reference, prompts, embeddings, speech, performance or endurance, got loadd"),
        ("fidelity: {minTop1Agreement: 1.5}", "[0].fidelity.minTop1Agreement: expected a number from 0 to 1, got 1.5"),
        ("fidelity: {skip: ''}", "[0].fidelity.skip: expected why, in a few words"),
        ("fidelity: {skip: odd, maxMeanKL: 1}", "[0].fidelity: expected either `skip` or bars"),
        ("load: {skip: why}", "[0].load.skip: expected maxMemory, got skip"),
        ("load: {maxMemory: 4096}", "[0].load.maxMemory: expected an amount of memory such as 512Mi or 4Gi, got 4096"),
        ("prompts: {}", "[0].prompts: expected one of file or cases, got none"),
        ("prompts: {cases: []}", "[0].prompts.cases: expected at least one item"),
        ("prompts: {file: none.jsonl}", "[0].prompts.file: expected a file, but there is no none.jsonl"),
        ("prompts: {file: ../../x}", "[0].prompts.file: expected a path inside the repository"),
        ("prompts: {cases: [{prompt: q, contains: '  '}]}", "not all of them white space"),
        ("prompts: {cases: [{prompt: q, contains: ''}]}", "not all of them white space"),
        ("prompts: {cases: [{prompt: q, regex: ''}]}", "this one matches every answer"),
        ("prompts: {cases: [{prompt: q}]}", "[0].prompts.cases[0]: expected one of exact, contains, regex"),
        ("prompts: {cases: [{exact: a}]}", "[0].prompts.cases[0]: expected one of prompt or messages, got none"),
        ("prompts: {cases: [{prompt: q, regex: '('}]}", "cases[0].regex: expected a regular expression"),
        ("prompts: {cases: [{prompt: q, exact: a}], minPass: 2}", "[0].prompts.minPass: expected at most 1"),
        ("prompts: {cases: [{prompt: q, jsonSchema: {oneOf: []}}]}", "expected a JSON Schema of the supported kind"),
        ("performance: {maxTimeToFirstToken: 2}", "expected a duration such as 300ms or 1.5s, got 2"),
        ("performance: {maxTimeToFirstToken: 0s}", "expected a duration such as 300ms or 1.5s, got 0s"),
        ("performance: {maxTimeToFirstToken: 0.000ms}", "expected a duration such as 300ms or 1.5s, got 0.000ms"),
        ("performance: {onFail: refuse}", "expected reject, warn or inconclusive, got refuse"),
        ("endurance: {requests: 1}", "expected a whole number from 8 to 100000, got 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_place(written: str, message: str) -> None:
    found = gates(written)
    if not message:
        assert found == GateSpec()
        return
    assert isinstance(found, list)
    (only,) = found
    assert message in only, only


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 1 to 200 golden prompts, one a line, got 0"),
        ("{}", ":1: expected one of prompt or messages, got none"),
        ("[1]", ":1: expected a mapping, got a list"),
        ("Paris", ":1: expected one JSON object a line, got something else"),
        ("\n" + "[" * 100_000, ":2: expected one JSON object a line"),
        ('{"prompt": "\\ud800", "exact": "a"}', ":1: expected one JSON object a line"),
        ('{"prompt": "q", "exact": "a", "answer": 1}', ":1: answer: expected prompt, messages, exact"),
        ('{"prompt": 7, "exact": "a"}', ":1: prompt: expected text of 1 to 16,384 characters, got"),
        ('{"prompt": "q", "regex": "(a)(?=b)"}', ":1: regex: expected a regular expression (RE2"),
        ('{"prompt": "q", "exact": "a"}\n' * 201, "expected 1 to 200 golden prompts, one a line, got 201"),
    ],
)
def test_a_file_of_golden_prompts_is_judged_line_by_line(text: str, message: str) -> None:
    found = gates("prompts: {file: g.jsonl}", files={"g.jsonl": text})
    assert isinstance(found, list)
    (only,) = found
    assert only.startswith("manifests/g.jsonl")
    assert message in only, only


WITH_PROMPTS = "gates: [{prompts: {file: g.jsonl}}]"
HEARS = """
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: NAME}
spec:
  task: automatic-speech-recognition
  source: {onnx: {path: ../models/phi}}
  precisions: [fp32]
  gates: [{speech: {cases: [{audio: FILE, contains: a}, {audio: FILE, exact: b, language: sl}]}}]
"""


def read_with(files: dict[str, bytes], *models: str) -> tuple[Parsed, list[str]]:
    """What these declare, and the files that were read for it."""
    asked: list[str] = []
    held = TEMPLATES | {f"/repo/manifests/{name}": data for name, data in files.items()}
    manifests = {f"{number}.yaml": text.encode() for number, text in enumerate(models)}
    context = around(held)

    def read(path: str) -> bytes | None:
        asked.append(posixpath.basename(path))
        return context.read(path)

    return parse(manifests, replace(context, read=read)), asked


def hearing(name: str, file: str = "a.wav") -> str:
    return HEARS.replace("NAME", name).replace("FILE", file)


def test_models_share_the_golden_files_that_they_name() -> None:
    sound, files = a_tone(0.2), {"a.wav": b"", "g.jsonl": LINES.encode()}
    files["a.wav"] = sound
    found, asked = read_with(
        files, hearing("one"), hearing("two"), model("three", WITH_PROMPTS), model("four", WITH_PROMPTS)
    )
    assert (found.problems, sorted(asked)) == ((), ["a.wav", "g.jsonl"])
    gates = {one.name: one.gates for one in found.models}
    speech = [gate for name in ("one", "two") if (gate := gates[name].get(SpeechGate)) is not None]
    assert len({id(case.audio) for gate in speech for case in gate.cases}) == 1
    assert gates["one"] == gates["two"]
    assert hash(gates["one"]) == hash(gates["two"])
    again, _ = read_with(files, hearing("one"))
    assert {gates["one"]: "known"}[again.models[0].gates] == "known"
    other, _ = read_with({"a.wav": a_tone(0.3)}, hearing("one"))
    assert other.models[0].gates != gates["one"]


def test_a_golden_file_with_a_mistake_is_one_of_each_model_that_names_it() -> None:
    files = {"g.jsonl": b'{"prompt": "q", "exact": "a"}\n{"prompt"', "b.wav": b"mp3"}
    found, _ = read_with(
        files, model("one", WITH_PROMPTS), model("two", WITH_PROMPTS), *(hearing(n, "b.wav") for n in "ab"), model("c")
    )
    assert [one.name for one in found.models] == ["c"]
    assert [one.code for one in found.problems].count("GoldenPrompts") == 1
    assert {one.file for one in found.problems if one.code == "RecordingRefused"} == {
        "manifests/2.yaml",
        "manifests/3.yaml",
    }


def test_a_golden_file_in_which_we_fail_is_read_once_and_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, sound = list[bytes](), a_tone(0.2)

    def fail(data: bytes) -> str:
        asked.append(data)
        raise KeyError("nobody thought of this")

    monkeypatch.setattr(golden_files, "refused_recording", fail)
    monkeypatch.setattr(golden_files, "MOST_BYTES", golden_files.MANIFEST_BYTES + len(sound) + 1)
    files = {"a.wav": sound, "g.jsonl": LINES.encode()}
    found, _ = read_with(files, *map(hearing, "abcd"), model("e", WITH_PROMPTS))
    assert [one.name for one in found.models] == ["e"]
    assert {one.code for one in found.problems} == {"Bug"}
    assert {one.file for one in found.problems} == {f"manifests/{number}.yaml" for number in range(4)}
    assert asked == [sound]


def test_all_golden_files_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that names one too many is refused, and no other: not one that names a file that is held already."""
    sound = a_tone(0.2)
    monkeypatch.setattr(golden_files, "MOST_BYTES", golden_files.MANIFEST_BYTES + len(sound) - 1)
    files = {"a.wav": sound, "b.wav": sound + b"other", "g.jsonl": LINES.encode()}
    models = (hearing("one"), hearing("two", "b.wav"), hearing("three"), model("four", WITH_PROMPTS), model("five"))
    found, asked = read_with(files, *models)
    assert [one.name for one in found.models] == ["five", "one", "three"]
    assert {(one.file, one.code) for one in found.problems} == {
        ("manifests/1.yaml", "GoldenFilesTooLarge"),
        ("manifests/3.yaml", "GoldenFilesTooLarge"),
    }
    assert asked == ["a.wav"]
