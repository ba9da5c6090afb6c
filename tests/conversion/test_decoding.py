"""Right conversions decode as they read, in the runtime that serves; real wrong ones are found."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.backends.foundry.foundry import Foundry
from reconciler.conversion.client.converter import Converter
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import Decoded, Measured
from reconciler.domain.sources.model_config import boundaries
from reconciler.gates.judgement import judge, rejections
from tests.backends.test_serving_foundry import runtime
from tests.conversions import convert, look, recipe_of
from tests.edited_graphs import Edit, edited, rounded, swapped, windows
from tests.tiny_models import write_families

pytestmark = pytest.mark.slow

# A part of docs/fidelity.md (`python -m bench.fidelity` measures all of it), in every run.
RIGHT = (("mistral-sliding", "int4"), ("lfm2", "fp32"), ("llama-llama3", "int8"), ("gemma", "fp16"))
FAR = "phi3-long-v4"
WRONG = ("phi3-long-early-v4",)  # the runtime reads all again at 4,097 tokens, wherever the factors change


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_families(tmp_path_factory.mktemp("zoo"), *{name for name, _ in RIGHT}, FAR, *WRONG)


@pytest.fixture(scope="module")
def foundry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    folder = tmp_path_factory.mktemp("decoding")
    with runtime(folder / "cache", folder) as one:
        yield one


def rejected(foundry: Foundry, source: Path, artifact: Path, precision: str) -> tuple[Decoded, bool]:
    config = json.loads((source / "config.json").read_text())
    found, _ = foundry.decode("m:1", str(artifact), boundaries(config))
    held = Measured(release="r", build_key="b", decoded=found)
    return found, "decoding" in {one.gate for one in rejections(judge(GateSpec(), precision, None, held))}


@pytest.mark.parametrize(("name", "precision"), RIGHT)
def test_a_right_one_passes(
    converter: Converter, foundry: Foundry, zoo: dict[str, Path], tmp_path: Path, name: str, precision: str
) -> None:
    convert(converter, zoo[name], tmp_path / "out", precision)
    found, wrong = rejected(foundry, zoo[name], tmp_path / "out", precision)
    assert not wrong, found
    assert (found.positions, found.longest, found.unmeasured) == (284, 300, ())


def test_a_right_one_passes_across_its_original_context(
    converter: Converter, foundry: Foundry, zoo: dict[str, Path], tmp_path: Path
) -> None:
    """Where the source read as long a text, so that its rotation turned as there, its answers are compared there."""
    source, out = zoo[FAR], tmp_path / "out"
    convert(converter, source, out, "int4")
    reference = converter.compare(recipe_of(look(source), "int4"), str(source), str(out), timeout=120).reference
    assert reference is not None
    assert reference.least == 4097
    context = boundaries(json.loads((source / "config.json").read_text()))
    found, referenced = foundry.decode("m:1", str(out), context, reference=reference)
    held = Measured(release="r", build_key="b", decoded=found, referenced=referenced)
    assert rejections(judge(GateSpec(), "int4", None, held)) == ()
    assert (found.positions, found.longest, found.unmeasured) == (308, 4112, ())
    assert (referenced.positions, referenced.unmeasured) == (48, "")


def test_a_text_may_hold_what_ends_an_answer(
    converter: Converter, foundry: Foundry, zoo: dict[str, Path], tmp_path: Path
) -> None:
    convert(converter, zoo["mistral-sliding"], tmp_path / "out", "int4")
    path = tmp_path / "out" / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"]["eos_token_id"] = [258, ord("\n"), ord("e")]
    path.write_text(json.dumps(config))
    found, wrong = rejected(foundry, zoo["mistral-sliding"], tmp_path / "out", "int4")
    assert (wrong, found.positions) == (False, 284)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_one_is_rejected(
    converter: Converter, foundry: Foundry, zoo: dict[str, Path], tmp_path: Path, name: str
) -> None:
    convert(converter, zoo[name], tmp_path / "out", "int4")
    found, wrong = rejected(foundry, zoo[name], tmp_path / "out", "int4")
    assert wrong, found


@pytest.mark.parametrize(
    ("name", "precision", "edit"),
    [
        ("mistral-sliding", "int4", windows(63)),
        ("mistral-sliding", "fp32", windows(65)),
        ("mistral-sliding", "int4", windows(-1)),
        ("lfm2", "int4", swapped),
        ("mistral-sliding", "fp32", rounded),
    ],
    ids=["a window less one", "a window and one", "no window", "states swapped", "a rounded cache"],
)
def test_an_edited_graph_is_rejected(
    converter: Converter, foundry: Foundry, zoo: dict[str, Path], tmp_path: Path, name: str, precision: str, edit: Edit
) -> None:
    pytest.importorskip("onnx")
    convert(converter, zoo[name], tmp_path / "out", precision)
    edited(tmp_path / "out", edit)
    found, wrong = rejected(foundry, zoo[name], tmp_path / "out", precision)
    assert wrong, found
