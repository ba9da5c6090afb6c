"""The one table of weight precisions that a manifest may name. `conversion.precisions` says how Olive makes each, and
`gates.fidelity` how near to its source each must come.

Olive drops options it does not know in silence; so an option is only accepted, and only becomes part of a recipe, where
it was seen to change the result with the tool chain that `conversion.toolchain` pins.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Precision:
    """`bits` of one weight. With `rounded` weights are integers in blocks that share a scale; `floats` is the type of
    everything else. `options` are the fields of `manifest.Quantization` that act on it.

    `no_kernels` says why no CPU runs it and `slow` why a CPU runs it badly; both are "" for the others, and `instead`
    names better choices.
    """

    bits: int
    floats: str = "fp32"
    rounded: bool = False
    options: frozenset[str] = frozenset()
    only_whole_blocks: bool = False  # a row that blocks do not divide stops the quantizer
    has_algorithms: bool = False
    no_kernels: str = ""
    slow: str = ""
    instead: str = ""


TABLE: dict[str, Precision] = {
    "fp32": Precision(bits=32),
    "fp16": Precision(
        bits=16,
        floats="fp16",
        slow="it saves disk, but every sum is done in fp32",
        instead="int8 is smaller and faster at nearly the same quality",
    ),
    "bf16": Precision(
        bits=16,
        floats="bf16",
        no_kernels="the tools write no model, or one that does not load",
        instead="ONNX Runtime has no bf16 kernels for the CPU; fp32 and int8 come closest",
    ),
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
CONVERTIBLE = tuple(name for name, one in TABLE.items() if not one.no_kernels)

# These algorithms always store zero points, and keep some weights at 8 bits.
K_QUANT = frozenset({"k_quant", "k_quant_mixed", "k_quant_last"})


def honoured_options(precision: str, algorithm: str = "default") -> frozenset[str]:
    """The fields of `manifest.Quantization` that act on `precision`."""
    found = TABLE[precision]
    keeps_zero_points = found.has_algorithms and algorithm in K_QUANT
    return found.options - {"symmetric"} if keeps_zero_points else found.options
