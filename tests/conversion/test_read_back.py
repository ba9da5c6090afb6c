"""How a source's matrices are found in an artifact, and how a text is cut for the runtime. Needs no tools."""

from typing import Any

import pytest

from reconciler.conversion.worker.artifact_logits import pieces
from reconciler.conversion.worker.read_back import RoundedMatrices, RoundedMatrix, Span
from reconciler.domain.errors import ConversionFailed


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
