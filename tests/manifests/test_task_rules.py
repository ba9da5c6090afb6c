"""What a manifest may say of a model for embeddings, and of one that hears."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.resolve import resolve
from reconciler.gates.embeddings import EmbeddingsGate, GoldenText
from reconciler.gates.recording import Recording, a_tone
from reconciler.gates.speech import GoldenRecording, SpeechGate
from reconciler.host.stamps import StampBook
from reconciler.manifests.parsed import Parsed
from reconciler.sources.manifests import load
from tests.ready_onnx import write_hearing, write_ready

EXAMPLE = Path(__file__).parents[2] / "examples" / "embeddings"
READY = "{onnx: {path: ../model}}"
NEAR = "{text: a, similarTo: b, atLeast: 0.5}"


def parsed(folder: Path, cases: str = NEAR, *, task: str = "embeddings", source: str = READY, more: str = "") -> Parsed:
    (folder / "manifests").mkdir()
    (folder / "manifests" / "a.yaml").write_text(
        "apiVersion: reconciler.foundry/v1alpha1\nkind: Model\nmetadata: {name: a}\nspec:\n"
        f"  task: {task}\n  source: {source}\n  precisions: [fp32]\n"
        f"  gates: [{{embeddings: {{cases: [{cases}]}}}}]\n{more}"
    )
    write_ready(folder / "model")
    return load(str(folder / "manifests"))


def test_golden_texts(tmp_path: Path) -> None:
    found = parsed(tmp_path, f"{NEAR}, {{text: a, nearest: b, among: [c, b, c]}}")
    assert (found.problems, found.warnings) == ((), ())
    gate = found.models[0].gates.get(EmbeddingsGate)
    assert gate == EmbeddingsGate(
        cases=(GoldenText(text="a", near="b", at_least=0.5), GoldenText(text="a", near="b", among=("b", "c"))),
        min_pass=2,
    )


WRONG = {
    "Hugging Face's name": ({"task": "feature-extraction"}, "InvalidValue", "did you mean embeddings?"),
    "another task": ({"task": "vision-language-chat"}, "InvalidValue", "vision"),
    "golden texts of what hears": ({"task": "automatic-speech-recognition"}, "OptionIgnored", "golden recordings"),
    "a model to be converted": ({"source": "{path: ../model}"}, "TaskUnsupported", "gives a model for chat"),
    "a template": ({"more": "  promptTemplate: chatml\n"}, "OptionIgnored", "expected no promptTemplate"),
    "another template": ({"more": "  promptTemplate: {ref: x}\n"}, "OptionIgnored", "expected no promptTemplate"),
    "an original": ({"source": "{onnx: {path: ../model}, original: {path: ../model}}"}, "OptionIgnored", "no original"),
    "settings of answers": ({"more": "  generation: {temperature: 1}\n"}, "OptionIgnored", "expected no generation"),
    "a gate of answers with its usual bars": (
        {"cases": f"{NEAR}]}}}}, {{performance: {{}}}}]\n#"},
        "OptionIgnored",
        "got perf",
    ),
    "golden texts of a model for chat": ({"task": "chat-completion"}, "OptionIgnored", "for chat-completion, got emb"),
    "nothing to compare with": ({"cases": "{text: a}"}, "InvalidValue", "one of nearest or similarTo"),
    "two wishes": ({"cases": "{text: a, nearest: b, similarTo: b}"}, "InvalidValue", "one of nearest or similarTo"),
    "nearest of nothing": ({"cases": "{text: a, nearest: b}"}, "InvalidValue", "`among` beside `nearest`"),
    "nearest of itself": ({"cases": "{text: a, nearest: b, among: [b]}"}, "InvalidValue", "another text in `among`"),
    "no bar": ({"cases": "{text: a, similarTo: b}"}, "InvalidValue", "`atLeast` beside `similarTo`"),
    "a bar of nothing": ({"cases": "{text: a, nearest: b, among: [c], atLeast: 0}"}, "InvalidValue", "`similarTo`"),
    "no cosine": ({"cases": "{text: a, similarTo: b, atLeast: 1.1}"}, "InvalidValue", "a number from -1 to 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_act_is_said(tmp_path: Path, case: str) -> None:
    given, code, said = WRONG[case]
    found = parsed(tmp_path, **given)
    wrong = [one for one in found.problems if one.code != "UnknownReference"]
    assert {one.code for one in wrong} == {code}, found.problems
    assert any(said in f"{one.message} {one.hint}" for one in wrong), wrong
    assert not found.models


def test_a_bar_that_cannot_be_met(tmp_path: Path) -> None:
    found = parsed(tmp_path, f"{NEAR}], minPass: 2, dimensions: 3}}}}, {{load: {{}}}}]\n#")
    assert [(one.code, one.field) for one in found.problems] == [
        ("GateUnreachable", "spec.gates[0].embeddings.minPass")
    ]


def test_a_graph_without_hidden_states_embeds_nothing(tmp_path: Path) -> None:
    """What the tests' smallest graph gives is nothing at all."""
    (problem,) = resolve(parsed(tmp_path), StampBook.empty()).problems
    assert (problem.code, problem.line) == ("EmbeddingOutputMissing", 5)


def test_the_example_has_one_and_its_release_needs_no_template(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "examples")
    found = resolve(load(str(tmp_path / "examples" / "manifests")), StampBook.empty())
    assert (found.problems, found.warnings) == ((), ())
    (release,) = (one.release for one in found.desired.wanted)
    assert (release.template, release.task) == ("", "embeddings")
    assert release.parts["task"] == "embeddings"


HEARS = (
    "apiVersion: reconciler.foundry/v1alpha1\nkind: Model\nmetadata: {name: a}\nspec:\n"
    "  task: automatic-speech-recognition\n  source: {onnx: {path: ../model}}\n  precisions: [fp32]\n"
    "  gates: [{speech: {cases: [{audio: a.wav, WORDS}]}}]\n"
)


def hearing(folder: Path, words: str = "contains: a", *, sound: bytes | None = None, **changed: str) -> Parsed:
    (folder / "manifests").mkdir()
    (folder / "manifests" / "a.wav").write_bytes(a_tone(0.2) if sound is None else sound)
    text = HEARS.replace("WORDS", words)
    for old, new in changed.items():
        text = text.replace(old.replace("_", "-"), new)
    (folder / "manifests" / "a.yaml").write_text(text)
    return load(str(folder / "manifests"))


def test_golden_recordings(tmp_path: Path) -> None:
    write_hearing(tmp_path / "model")
    found = hearing(tmp_path)
    assert (found.problems, found.warnings) == ((), ())
    case = GoldenRecording(name="a.wav", audio=Recording.of(a_tone(0.2)), check="contains", expected="a")
    assert found.models[0].gates.get(SpeechGate) == SpeechGate(cases=(case,), min_pass=1)
    resolved = resolve(found, StampBook.empty())
    assert (resolved.problems, resolved.warnings) == ((), ())
    (release,) = (one.release for one in resolved.desired.wanted)
    assert (release.template, release.task) == ("", "automatic-speech-recognition")


UNHEARD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no words": ({"words": "language: sl"}, "InvalidValue", "one of exact or contains"),
    "blank words": ({"words": "contains: '  '"}, "InvalidValue", "not all of them white space"),
    "a language that is not asked for": ({"words": "exact: a, language: xx"}, "InvalidValue", "as English"),
    "a recording of another kind": ({"sound": b"mp3"}, "RecordingRefused", "ffmpeg"),
    "one that is too long": ({"sound": a_tone(8.5)}, "Unreadable", "8 s of 16 kHz"),
    "no recording": ({"a.wav": "b.wav"}, "PathMissing", "b.wav"),
    "one outside": ({"a.wav": "../../../a.wav"}, "PathOutside", "a.wav"),
    "of a model for chat": ({"automatic_speech_recognition": "chat-completion"}, "OptionIgnored", "for chat"),
    "more than there are": ({"]}}]": "], minPass: 2}}]"}, "GateUnreachable", "golden recordings"),
}


@pytest.mark.parametrize("case", UNHEARD)
def test_what_cannot_be_heard_is_said(tmp_path: Path, case: str) -> None:
    given, code, said = UNHEARD[case]
    write_hearing(tmp_path / "model")
    found = hearing(tmp_path, **given)
    assert {one.code for one in found.problems} == {code}, found.problems
    assert all(said in f"{one.message} {one.hint}" for one in found.problems), found.problems


OTHERS = {
    "a model for chat is no model that hears": ({}, write_ready, "TaskDiffers", "of type qwen2"),
    "a model that hears is none for chat": (
        {"automatic_speech_recognition": "chat-completion", "speech: ": "prompts: ", "audio: a.wav": "prompt: a"},
        write_hearing,
        "TaskDiffers",
        "add `task: automatic-speech-recognition`",
    ),
    "a language that it has no token for": (
        {"words": "contains: a, language: sl"},
        write_hearing,
        "SpeechTokenMissing",
        "<|sl|>",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_model_and_its_task_belong_together(tmp_path: Path, case: str) -> None:
    given, write, code, said = OTHERS[case]
    write(tmp_path / "model")
    problems = resolve(hearing(tmp_path, **given), StampBook.empty()).problems
    found = [one for one in problems if one.code == code]
    assert len(found) == 1, problems
    assert said in f"{found[0].message} {found[0].hint}"
