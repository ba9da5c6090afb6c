"""Which quantization options act on which precision, in the tool chain that `conversion.toolchain` pins.

Olive drops options it does not know in silence; so an option is only accepted, and only becomes part of a recipe, where
it was seen to change the result.
"""

from __future__ import annotations

K_QUANT = frozenset({"k_quant", "k_quant_mixed", "k_quant_last"})

_HONOURED: dict[str, frozenset[str]] = {
    "int4": frozenset({"block_size", "symmetric", "accuracy_level", "algorithm"}),
    # Rtn bits 8 takes group_size and sym; the builder then writes its accuracy level beside the weights it was given.
    "int8": frozenset({"block_size", "symmetric", "accuracy_level"}),
}


def honoured_options(precision: str, algorithm: str = "default") -> frozenset[str]:
    """The fields of `Quantization` that act on `precision`. The k_quant family always stores zero points, so there
    `symmetric` changes nothing."""
    options = _HONOURED.get(precision, frozenset())
    return options - {"symmetric"} if precision == "int4" and algorithm in K_QUANT else options
