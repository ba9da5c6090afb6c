"""What `olive run` makes by hand of the configuration that we explain, beside what our worker makes of it: the same
bytes, though the worker replaces methods of Olive and of its builder (worker/lean_olive.py)."""

import ast
import hashlib
import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from reconciler.conversion.client.converter import Converter
from reconciler.conversion.precisions import olive_config
from reconciler.host.environment import private_environment
from tests import forked
from tests.conversions import convert, look, recipe_of
from tests.tiny_models import write_qwen2
from tests.trust import FULL

pytestmark = pytest.mark.slow

PRECISIONS = ("fp32", "fp16", "int8", "int4")
ROUNDINGS: dict[str, tuple[str, dict[str, Any]]] = {
    **{precision: (precision, {}) for precision in PRECISIONS},
    "int4 with zero points": ("int4", {"block_size": 16, "symmetric": False}),
}
if FULL:  # each is `olive run` twice
    ROUNDINGS |= {
        "int4 rtn": ("int4", {"algorithm": "rtn"}),
        "int4 k_quant_mixed": ("int4", {"algorithm": "k_quant_mixed"}),
        "int8 with zero points": ("int8", {"symmetric": False}),
    }

AT_ONCE = 1 << 12  # numbers: most matrices take some pieces, and the last is shorter
SCRIPT = """
import sys
from olive.cli.launcher import main
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from reconciler.conversion.worker import lean_halving, lean_olive

begin, sizes = MatMulNBitsQuantizer.__init__, []
def seen(self, model, *rest, **options):
    sizes.append(model.ByteSize())
    begin(self, model, *rest, **options)

lean_olive.AT_ONCE = lean_halving.AT_ONCE = int(sys.argv[2])
for name in sys.argv[3:]:
    main(["run", "--config", f"{sys.argv[1]}/{name}.json"])
    MatMulNBitsQuantizer.__init__ = seen
    with lean_olive.lean(), lean_halving.lean_halving():
        main(["run", "--config", f"{sys.argv[1]}/{name} in pieces.json"])
    MatMulNBitsQuantizer.__init__ = begin
    open(f"{sys.argv[1]}/{name}.most", "w").write(str(max(sizes, default=0)))
    sizes.clear()
"""


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source, and below the second folder what `olive run --config` makes of it in each of ROUNDINGS; beside each
    what it makes with the replaced methods, and in a file how many bytes it rounded at once."""
    base = tmp_path_factory.mktemp("by hand")
    source = write_qwen2(base / "model")
    for name, (precision, options) in ROUNDINGS.items():
        recipe = recipe_of(look(source), precision, **options)
        for folder in (name, f"{name} in pieces"):
            config = olive_config(recipe, str(source), str(base / folder), str(base / f"cache of {folder}"))
            (base / f"{folder}.json").write_text(json.dumps(config))
    (base / "cwd").mkdir()
    (base / "script.py").write_text(SCRIPT)
    arguments = [str(base), str(AT_ONCE), *ROUNDINGS]
    forked.run_beside_olive(base / "script.py", arguments, base / "cwd", private_environment(str(base)))
    return source, base


def weights_of(folder: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", "model.onnx.data")
    }


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_explained_configuration_run_by_hand_gives_the_same_weights(
    converter: Converter, by_hand: tuple[Path, Path], tmp_path: Path, precision: str
) -> None:
    source, base = by_hand
    convert(converter, source, tmp_path / "out", precision)
    assert weights_of(tmp_path / "out") == weights_of(base / precision)


@pytest.mark.parametrize("name", ROUNDINGS)
def test_in_pieces_the_weights_are_the_same(by_hand: tuple[Path, Path], name: str) -> None:
    assert weights_of(by_hand[1] / f"{name} in pieces") == weights_of(by_hand[1] / name)


@pytest.mark.parametrize("name", [name for name in ROUNDINGS if name.startswith("int")])
def test_only_a_piece_is_rounded_at_once(by_hand: tuple[Path, Path], name: str) -> None:
    """The graph without weights has some 30 KB; all weights in single precision some 400."""
    assert 0 < int((by_hand[1] / f"{name}.most").read_text()) < 4 * AT_ONCE + 40_000


# What is replaced, and what relies on it. Where one has changed: read the change, see whether ours still does what it
# does, run the tests above, and write the new digest here.
REPLACED = {
    ("onnxruntime-genai", "onnxruntime_genai/models/builders/base.py", "Model.make_initializer"): "630e3c4982ee3688",
    ("onnxruntime-genai", "onnxruntime_genai/models/builders/base.py", "Model.to_int4"): "87a7df65e2441a90",
    ("onnxruntime-genai", "onnxruntime_genai/models/builders/base.py", "Model.save_model"): "f2b85b7427ee72ee",
    ("olive-ai", "olive/common/quant/utils.py", "WeightQuantizer.quantize"): "4017a9ac3171f700",
    ("olive-ai", "olive/common/quant/nn.py", "QuantModule.from_tensors"): "d9e9b44c7cec7976",
    ("olive-ai", "olive/model/handler/onnx.py", "ONNXModelHandler.load_model"): "24dad82760901d55",
    ("olive-ai", "olive/passes/onnx/float16_conversion.py", "OnnxFloatToFloat16._run_for_config"): "d4060246f71b0bec",
    ("onnxruntime", "onnxruntime/transformers/float16.py", "convert_tensor_float_to_float16"): "6a96af2d11862e38",
    ("onnxruntime", "onnxruntime/transformers/float16.py", "convert_float_to_float16"): "b5b9463166caf3f6",
}


@pytest.mark.parametrize(("package", "file", "name"), REPLACED)
def test_what_is_replaced_in_the_tools_is_as_we_read_it(package: str, file: str, name: str) -> None:
    text = Path(str(distribution(package).locate_file(file))).read_text(encoding="utf-8")
    found: ast.AST = ast.parse(text)
    for part in name.split("."):
        inside = (node for node in ast.iter_child_nodes(found) if getattr(node, "name", "") == part)
        found = next(inside)
    source = ast.get_source_segment(text, found) or ""
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == REPLACED[package, file, name]
