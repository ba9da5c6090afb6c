"""The table of weight precisions that a model can be converted to. A manifest may name each of them.

`conversion.precisions` says how Olive makes one, and `gates.fidelity` how near to its source it must come.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True, kw_only=True)
class Precision:
    """`bits` of one weight. With `rounded` weights are integers in blocks that share a scale; `floats` is the type of
    everything else on the CPU (`floats_of` knows it of all providers).

    `options` are the fields of `manifest.Quantization` that act on it. Olive drops options it does not know in silence;
    so an option is only accepted, and only becomes part of a recipe, where it was seen to change the result with the
    tool chain that `conversion.toolchain` pins.
    """

    bits: int
    floats: str = "fp32"
    rounded: bool = False
    options: frozenset[str] = frozenset()
    only_whole_blocks: bool = False  # a row that blocks do not divide stops the quantizer
    has_algorithms: bool = False


T = TypeVar("T")


def of_precision(bars: Mapping[str, T], precision: str) -> T:
    """Of a precision without any of its own, those of int4: they let most pass."""
    return bars.get(precision, bars["int4"])


TABLE: dict[str, Precision] = {
    "fp32": Precision(bits=32),
    "fp16": Precision(bits=16, floats="fp16"),
    "bf16": Precision(bits=16, floats="bf16"),
    # Rtn bits 8 takes group_size and sym; the builder then writes its accuracy level beside the weights it was given.
    "int8": Precision(
        bits=8, rounded=True, options=frozenset({"block_size", "symmetric", "accuracy_level"}), only_whole_blocks=True
    ),
    "int4": Precision(
        bits=4,
        rounded=True,
        options=frozenset({"block_size", "symmetric", "accuracy_level", "algorithm"}),
        has_algorithms=True,
    ),
}
PRECISIONS = tuple(TABLE)

# These algorithms always store zero points, and keep some weights at 8 bits.
K_QUANT = frozenset({"k_quant", "k_quant_mixed", "k_quant_last"})

# Operators of a graph: one that multiplies with rounded weights, and one that takes them apart for another that does.
NBITS, DEQUANTIZE = "MatMulNBits", "DequantizeLinear"
