"""How a source's matrices are found in an artifact, and how a text is cut for the runtime."""

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.conversion.worker.artifact_logits import pieces
from reconciler.conversion.worker.read_back import RoundedMatrices, RoundedMatrix, Span, rounded_matrices
from reconciler.domain.errors import ConversionFailed
from tests.extras import needs


class Rows:
    def __init__(self, count: int) -> None:
        self.shape = (count, 1)


def matrix(name: str, rows: int, columns: int) -> RoundedMatrix:
    codes: Any = Rows(rows)
    return RoundedMatrix(name=name, columns=columns, bits=4, block=32, codes=codes, scales=None, zeros=None)


JOINED = matrix("/model/layers.0/attn/qkv_proj/MatMul_Q4", 8, 4)
OUT = matrix("/model/layers.0/attn/o_proj/MatMul_Q4", 4, 4)
GATE, UP = (matrix(f"/model/layers.0/mlp/{name}_proj/MatMul_Q4", 6, 4) for name in ("gate", "up"))
DOWN = matrix("/model/layers.0/mlp/down_proj/MatMul_Q4", 4, 6)
HEAD = matrix("/lm_head/MatMul_Q4", 20, 4)
LINEAR = {
    "model.layers.0.self_attn.q_proj.weight": (4, 4),
    "model.layers.0.self_attn.k_proj.weight": (2, 4),
    "model.layers.0.self_attn.v_proj.weight": (2, 4),
    "model.layers.0.self_attn.o_proj.weight": (4, 4),
    "model.layers.0.mlp.gate_up_proj.weight": (12, 4),
    "model.layers.0.mlp.down_proj.weight": (4, 6),
    "lm_head.weight": (20, 4),
}


def take_all(matrices: list[RoundedMatrix]) -> list[list[Span]]:
    left = RoundedMatrices(matrices)
    found = [left.take(name, *shape) for name, shape in LINEAR.items()]
    assert found == [left.take(name, *shape) for name, shape in LINEAR.items()]  # a layer that is computed again
    left.check_all_taken()
    return found


def test_what_the_tools_joined_and_split_is_found_by_its_rows() -> None:
    assert take_all([JOINED, OUT, GATE, UP, DOWN, HEAD]) == [
        [(JOINED, 0, 4)],
        [(JOINED, 4, 6)],
        [(JOINED, 6, 8)],
        [(OUT, 0, 4)],
        [(GATE, 0, 6), (UP, 0, 6)],
        [(DOWN, 0, 4)],
        [(HEAD, 0, 20)],
    ]


@pytest.mark.parametrize("matrices", [[JOINED, OUT, GATE, UP, DOWN], [JOINED, OUT, GATE, UP, DOWN, HEAD, HEAD], []])
def test_other_matrices_than_the_source_has_are_refused(matrices: list[RoundedMatrix]) -> None:
    with pytest.raises(ConversionFailed, match="not those of the source"):
        take_all(matrices)


# What other tools write: the operator, its attributes, and the tensors that it reads: the type and shape of each.
CODES, SCALES = ("UINT4", (32, 6)), ("FLOAT", (2, 6))
BYTES = ("UINT8", (6, 2, 8))
NBITS = {"K": 32, "N": 6, "bits": 4, "block_size": 16}
FOREIGN: dict[str, tuple[str, dict[str, int], list[tuple[str, tuple[int, ...]] | None], str]] = {
    "no axis": ("DequantizeLinear", {"block_size": 16}, [CODES, SCALES], "go down a matrix"),
    "a scale for each column": ("DequantizeLinear", {"axis": 0}, [CODES, ("FLOAT", (6,))], "it has no block_size"),
    "codes that are computed": ("DequantizeLinear", {"axis": 0, "block_size": 16}, [None, SCALES], "its input 0 is"),
    "scales that are computed": ("DequantizeLinear", {"axis": 0, "block_size": 16}, [CODES, None], "its input 1 is"),
    "zeros that are computed": ("DequantizeLinear", {"axis": 0, "block_size": 16}, [CODES, SCALES, None], "input 2 is"),
    "codes of eight bits": ("DequantizeLinear", {"axis": 0}, [("INT8", (32, 6)), SCALES], "not of four bits"),
    "a row of codes": ("DequantizeLinear", {"axis": 0}, [("INT4", (32,)), ("FLOAT", ())], "go down a matrix"),
    "other blocks": ("DequantizeLinear", {"axis": 0, "block_size": 8}, [CODES, SCALES], "its input 1 has not the size"),
    "codes one by one": (
        "DequantizeLinear",
        {"axis": 0, "block_size": 16},
        [CODES, SCALES],
        "its codes are not packed",
    ),
    "no bits, no size": ("MatMulNBits", {"K": 32}, [BYTES, SCALES], "it has no block_size"),
    "no N": ("MatMulNBits", {"K": 32, "block_size": 16}, [BYTES, SCALES], "it has no N"),
    "two bits": ("MatMulNBits", NBITS | {"bits": 2}, [BYTES, SCALES], "it has 2 bits"),
    "packed codes that are computed": ("MatMulNBits", NBITS, [None, SCALES], "its input 1 is"),
    "another size": ("MatMulNBits", NBITS | {"N": 7}, [BYTES, SCALES], "its input 1 has not the size"),
    "zeros that are numbers": ("MatMulNBits", NBITS, [BYTES, SCALES, ("FLOAT", (6,))], "its codes are not bytes"),
    "an order of its own": ("MatMulNBits", NBITS, [BYTES, SCALES, ("UINT8", (6,)), ("INT32", (32,))], "more inputs"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_not_understood_is_named(tmp_path: Path, case: str) -> None:
    """A ready model may come from any tool: what its node lacks is said, and not a bare name."""
    needs("onnx", "convert")
    from onnx import TensorProto, helper, save

    operator, attributes, held, said = FOREIGN[case]
    names = [f"w{at}" for at in range(len(held))]
    tensors = [
        TensorProto(name=name, data_type=TensorProto.DataType.Value(kind), dims=shape)
        for name, (kind, shape) in ((name, one) for name, one in zip(names, held, strict=True) if one is not None)
    ]
    inputs = names if operator == "DequantizeLinear" else ["x", *names]
    nodes = [helper.make_node(operator, inputs, ["w"], name="/layers.0/odd", **attributes)]
    if operator == "DequantizeLinear":
        nodes.append(helper.make_node("MatMul", ["x", "w"], ["y"]))
    save(helper.make_model(helper.make_graph(nodes, "g", [], [], tensors)), tmp_path / "model.onnx")
    config = {"model": {"decoder": {"filename": "model.onnx"}}}
    (tmp_path / "genai_config.json").write_text(json.dumps(config))
    with pytest.raises(ConversionFailed, match=f"/layers.0/odd .* that is not known here: .*{said}"):
        rounded_matrices(str(tmp_path))


@pytest.mark.parametrize(
    ("length", "whole", "singly", "lengths"),
    [
        (100, 1, 2, [75, 23, 1, 1]),
        (100, 1, 0, [75, 25]),
        (100, 90, 2, [90, 8, 1, 1]),
        (100, 999, 2, [100]),
        (4, 1, 2, [3, 1]),
        (2, 1, 2, [1, 1]),
    ],
)
def test_a_text_is_read_in_pieces_and_its_end_token_by_token(
    length: int, whole: int, singly: int, lengths: list[int]
) -> None:
    row = list(range(length))
    found = pieces(row, whole, singly=singly)
    assert [token for piece in found for token in piece] == row
    assert list(map(len, found)) == lengths
