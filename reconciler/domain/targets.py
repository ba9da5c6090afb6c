"""What a model can be converted to: the table of weight precisions, and the table of execution providers.

A manifest may name every precision here, and the providers that are verified; all providers are looked for on a
machine, so that an inventory names them. `conversion.precisions` says how Olive makes each precision, and
`gates.fidelity` how near to its source each must come.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar


@dataclass(frozen=True, kw_only=True)
class Precision:
    """`bits` of one weight. With `rounded` weights are integers in blocks that share a scale; `floats` is the type of
    everything else.

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


def honoured_options(precision: str, algorithm: str = "default") -> frozenset[str]:
    """The fields of `manifest.Quantization` that act on `precision`."""
    found = TABLE[precision]
    keeps_zero_points = found.has_algorithms and algorithm in K_QUANT
    return found.options - {"symmetric"} if keeps_zero_points else found.options


@dataclass(frozen=True, kw_only=True)
class Unfit:
    """Why a provider runs a precision badly, or not at all, and which precisions to take instead."""

    why: str
    instead: str


@dataclass(frozen=True, kw_only=True)
class ExecutionProvider:
    """`name` is ONNX Runtime's and `device` Foundry Local's word for it. `verified` is whether conversions for it were
    measured against their source.

    `library` is part of the file name by which it is found among the packages of ONNX Runtime, "" where it is in each
    of them. `genai_name` is how `provider_options` of genai_config.json call it, "" where they do not, and
    `genai_options` are the options that the builder writes for it. `no_kernels` and `slow` are by precision.
    """

    name: str
    device: str
    library: str = ""
    genai_name: str = ""
    genai_options: frozenset[str] = frozenset()
    no_kernels: Mapping[str, Unfit] = field(default_factory=dict)
    slow: Mapping[str, Unfit] = field(default_factory=dict)
    verified: bool = False


PROVIDERS = (
    ExecutionProvider(
        name="CPUExecutionProvider",
        device="cpu",
        no_kernels={
            "bf16": Unfit(
                why="the tools write no model, or one that does not load",
                instead="ONNX Runtime has no bf16 kernels for the CPU; fp32 and int8 come closest",
            )
        },
        slow={
            "fp16": Unfit(
                why="it saves disk, but every sum is done in fp32",
                instead="int8 is smaller and faster at nearly the same quality",
            )
        },
        verified=True,
    ),
    ExecutionProvider(
        name="CUDAExecutionProvider",
        device="gpu",
        library="onnxruntime_providers_cuda",
        genai_name="cuda",
        genai_options=frozenset({"enable_cuda_graph", "enable_skip_layer_norm_strict_mode"}),
    ),
    ExecutionProvider(name="TensorrtExecutionProvider", device="gpu", library="onnxruntime_providers_tensorrt"),
    ExecutionProvider(name="OpenVINOExecutionProvider", device="npu", library="onnxruntime_providers_openvino"),
    ExecutionProvider(name="QNNExecutionProvider", device="npu", library="onnxruntime_providers_qnn"),
    ExecutionProvider(name="ROCMExecutionProvider", device="gpu", library="onnxruntime_providers_rocm"),
    ExecutionProvider(name="MIGraphXExecutionProvider", device="gpu", library="onnxruntime_providers_migraphx"),
    ExecutionProvider(name="VitisAIExecutionProvider", device="npu", library="onnxruntime_providers_vitisai"),
    ExecutionProvider(name="DmlExecutionProvider", device="gpu", library="directml", genai_name="dml"),
    ExecutionProvider(
        name="WebGpuExecutionProvider",
        device="gpu",
        library="onnxruntime_providers_webgpu",
        genai_name="webgpu",
        genai_options=frozenset({"enableGraphCapture", "validationMode"}),
    ),
    ExecutionProvider(
        name="NvTensorRTRTXExecutionProvider",
        device="gpu",
        library="onnxruntime_providers_nv_tensorrt_rtx",
        genai_name="NvTensorRtRtx",
        genai_options=frozenset({"enable_cuda_graph"}),
    ),
)
GENAI_PROVIDERS = {one.genai_name: one for one in PROVIDERS if one.genai_name}
VERIFIED_PROVIDERS = {one.name: one for one in PROVIDERS if one.verified}
VERIFIED_DEVICES = tuple(dict.fromkeys(one.device for one in VERIFIED_PROVIDERS.values()))
DEFAULT_PROVIDER = next(iter(VERIFIED_PROVIDERS.values()))
# What `precisions: auto` may take where it names none: rounded ones. What is not rounded takes three to five times the
# memory for what few notice.
AUTO_PRECISIONS = tuple(
    name
    for name, one in TABLE.items()
    if one.rounded and not any(name in {**each.no_kernels, **each.slow} for each in VERIFIED_PROVIDERS.values())
)
CONVERTIBLE = tuple(name for name in TABLE if not all(name in one.no_kernels for one in VERIFIED_PROVIDERS.values()))


def provider_of(config: dict[str, Any]) -> ExecutionProvider:
    """The one that a checked genai_config.json asks for first; the CPU's where it asks for none."""
    decoder = config.get("model", {}).get("decoder", {})
    asked = [name for one in decoder.get("session_options", {}).get("provider_options", ()) for name in one]
    return GENAI_PROVIDERS[asked[0]] if asked else DEFAULT_PROVIDER


# What a model is for, in Foundry Local's own words: a registration carries one, and it decides by which client a model
# is asked.
CHAT, EMBEDDINGS, SPEECH = "chat-completion", "embeddings", "automatic-speech-recognition"
TASKS = (CHAT, EMBEDDINGS, SPEECH)
OTHER_TASKS = (
    "as Foundry Local names them: Hugging Face's feature-extraction and sentence-similarity are embeddings; vision and "
    "other tasks are not served yet (docs/tasks.md)"
)
HIDDEN_STATES = "hidden_states"  # the output of a graph that Foundry Local takes an embedding from
WHISPER = "whisper"  # the one family of models that hears
