"""What a manifest may say of a model for embeddings."""

import shutil
from pathlib import Path

import pytest

from reconciler.engine.resolve import resolve
from reconciler.gates.embeddings import EmbeddingsGate, GoldenText
from reconciler.host.stamps import StampBook
from reconciler.manifests.parsed import Parsed
from reconciler.sources.manifests import load
from tests.ready_onnx import write_ready

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
    "Hugging Face's name": ({"task": "feature-extraction"}, "InvalidValue", "are embeddings"),
    "speech": ({"task": "automatic-speech-recognition"}, "InvalidValue", "speech"),
    "a model to be converted": ({"source": "{path: ../model}"}, "TaskUnsupported", "gives a model for chat"),
    "a template": ({"more": "  promptTemplate: chatml\n"}, "OptionIgnored", "expected no promptTemplate"),
    "another template": ({"more": "  promptTemplate: {ref: x}\n"}, "OptionIgnored", "expected no promptTemplate"),
    "an original": ({"source": "{onnx: {path: ../model}, original: {path: ../model}}"}, "OptionIgnored", "no original"),
    "settings of answers": ({"more": "  generation: {temperature: 1}\n"}, "OptionIgnored", "expected no generation"),
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
