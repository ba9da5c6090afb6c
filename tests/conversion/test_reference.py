"""A runtime that computes as it did where an artifact was built passes, also with other threads and other kernels; one
that computes wrongly is refused without the source. The decoding gate sees nothing of it: whole texts and answers are
wrong alike."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.foundry.foundry import Foundry
from reconciler.conversion.client.converter import Converter
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import Measured
from reconciler.domain.reference import Reference
from reconciler.domain.sources.model_config import boundaries
from reconciler.gates.judgement import judge, rejections
from reconciler.gates.reference import read, written
from tests.backends.test_serving_foundry import runtime
from tests.conversions import convert, look, recipe_of
from tests.edited_graphs import edited
from tests.tiny_models import write_families

pytestmark = pytest.mark.slow

MODEL = "mistral-sliding"
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_families(tmp_path_factory.mktemp("zoo"), MODEL)


@pytest.fixture(scope="module")
def foundry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    folder = tmp_path_factory.mktemp("reference")
    with runtime(folder / "cache", folder) as one:
        yield one


def built(converter: Converter, source: Path, out: Path, precision: str) -> Reference:
    """As it comes to another machine."""
    convert(converter, source, out, precision)
    recipe = recipe_of(look(source), precision)
    compared = converter.compare(recipe, str(source), str(out), timeout=120)
    assert compared.reference is not None
    data = written(compared.reference)
    assert len(data) < 40_000
    found = read(data, recipe.build_key)
    assert found is not None
    return found


def verdicts(
    foundry: Foundry, source: Path, artifact: Path, precision: str, reference: Reference
) -> tuple[set[str], str]:
    """The gates that reject it, and what one says."""
    config = json.loads((source / "config.json").read_text())
    decoded, referenced = foundry.decode("m:1", str(artifact), boundaries(config), reference=reference)
    held = Measured(release="r", build_key="b", decoded=decoded, referenced=referenced)
    found = judge(GateSpec(), precision, None, held)
    assert (referenced.positions, referenced.unmeasured) == (48, "")
    return {one.gate for one in rejections(found)}, str(referenced)


@pytest.fixture(scope="module")
def usual(
    converter: Converter, zoo: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Reference]:
    out = tmp_path_factory.mktemp("usual") / "out"
    return out, built(converter, zoo[MODEL], out, "int8")


def option(name: str, value: object) -> Change:
    def change(artifact: Path) -> None:
        path = artifact / "genai_config.json"
        config = json.loads(path.read_text())
        config["model"]["decoder"]["session_options"][name] = value
        path.write_text(json.dumps(config))

    return change


def attribute(operator: str, name: str, value: float) -> Change:
    """Of each node of this kind."""

    def edit(graph: Any) -> None:
        found = [one for node in graph.node if node.op_type == operator for one in node.attribute if one.name == name]
        assert found
        for one in found:
            if one.type == one.INT:
                one.i = int(value)
            else:
                one.f = value

    return lambda artifact: edited(artifact, edit)


def swapped_weights(artifact: Path) -> None:
    """Two neighbouring tenths of one matrix."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(artifact / "model.onnx", load_external_data=False).graph
    matrices = [
        one for one in graph.initializer if one.external_data and "down_proj" in one.name and "qweight" in one.name
    ]
    said = {entry.key: int(entry.value) for entry in matrices[0].external_data if entry.key != "location"}
    tenth = said["length"] // 10
    with (artifact / "model.onnx.data").open("r+b") as file:
        file.seek(said["offset"])
        data = file.read(2 * tenth)
        file.seek(said["offset"])
        file.write(data[tenth:] + data[:tenth])


HONEST = {
    "as it is": lambda artifact: None,
    "one thread": option("intra_op_num_threads", 1),
    "sums that are not rounded": attribute("MatMulNBits", "accuracy_level", 1),
    "kernels that sort no weights": option("session.disable_prepacking", "1"),
}
WRONG = {
    "another rotation": attribute("GroupQueryAttention", "rotary_interleaved", 1),
    "a shorter window": attribute("GroupQueryAttention", "local_window_size", 32),
    "a cap of attention": attribute("GroupQueryAttention", "softcap", 5.0),
    "swapped weights": swapped_weights,
}


@pytest.mark.parametrize("what", [*HONEST, *WRONG])
def test_a_wrong_kernel_is_found_and_another_one_is_not(
    foundry: Foundry, zoo: dict[str, Path], usual: tuple[Path, Reference], tmp_path: Path, what: str
) -> None:
    pytest.importorskip("onnx")
    artifact, reference = shutil.copytree(usual[0], tmp_path / "out"), usual[1]
    {**HONEST, **WRONG}[what](artifact)
    found, said = verdicts(foundry, zoo[MODEL], artifact, "int8", reference)
    assert found == ({"reference"} if what in WRONG else set()), said
