"""The table of execution providers: what models can be converted for, and what a ready one may ask for.

A manifest may name those that models are converted for; all are looked for on a machine, so that an inventory names
them. `conversion.precisions` says what Olive does otherwise for one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.domain.targets.precisions import DEQUANTIZE, K_QUANT, NBITS, TABLE


@dataclass(frozen=True, kw_only=True)
class Unfit:
    """Why a provider runs a precision badly, or none can be made for it, and which precisions to take instead."""

    why: str
    instead: str


@dataclass(frozen=True, kw_only=True)
class ExecutionProvider:
    """`name` is ONNX Runtime's and `device` Foundry Local's word for it.

    `library` is part of the file name by which it is found among the packages of ONNX Runtime, "" where it is in each
    of them. `genai_name` is how `provider_options` of genai_config.json call it, "" where they do not, and
    `genai_options` are the options that builders write for it, each with the pattern that its whole value matches:
    those of 0.14.1 and 0.18.0, of Olive's recipes and of published folders. None can name a library, a device file or
    a file outside of the folder. `contexts` is the form of what was compiled for it beforehand and lies beside the
    graph (ContextForm), "" where none is known.

    `converted` is whether models are converted for it: each precision was tried with the pinned tools, and what came
    out was compared with its source by the processor. `unfit` (which are not made) and `slow` are by precision. With
    precisions that are rounded, `floats` is the type of what is not, `rounded_by` the operator that multiplies with
    rounded weights or takes them apart, `accuracy_level` what the builder writes beside them where none is asked for,
    and `ignored` are the fields of `manifest.Quantization` that change nothing there.
    """

    name: str
    device: str
    library: str = ""
    genai_name: str = ""
    genai_options: Mapping[str, str] = field(default_factory=dict)
    contexts: str = ""
    converted: bool = False
    unfit: Mapping[str, Unfit] = field(default_factory=dict)
    slow: Mapping[str, Unfit] = field(default_factory=dict)
    floats: str = "fp16"
    rounded_by: str = NBITS
    accuracy_level: int = 0
    ignored: frozenset[str] = frozenset()

    @property
    def precisions(self) -> tuple[str, ...]:
        """What can be made for it."""
        return tuple(one for one in TABLE if self.converted and one not in self.unfit)


# Values of options in genai_config.json. The names of libraries are those that onnxruntime-qnn brings beside itself.
_ANY_WORD, _FLAG, _NUMBER = r"(?s).*", "[01]", r"\d{1,6}"
_LENGTH = rf'"(?:MAX_PROMPT_LEN|MIN_RESPONSE_LEN)" *: *(?:"{_NUMBER}"|{_NUMBER})'
_QNN_MODES = (
    "burst|balanced|default|high_performance|high_power_saver|low_balanced|low_power_saver|power_saver|"
    "extreme_power_saver|sustained_high_performance"
)

# Forms of what was compiled beforehand. OPENVINO_IR: a model of OpenVINO's own, called as the graph is, in two files;
# QNN_BINARY: one of Qualcomm's, within the graph or in a file beside it that the graph names.
OPENVINO_IR, QNN_BINARY = "openvino-ir", "qnn-binary"

_FOR_CUDA_ALONE = Unfit(why="Olive makes it for CUDAExecutionProvider alone", instead="fp16 takes as much")
_LOSES_ITS_CACHE = Unfit(
    why="the builder makes an invalid graph, whose outputs for the cache are not there", instead="fp16 takes half of it"
)

PROVIDERS = (
    ExecutionProvider(
        name="CPUExecutionProvider",
        device="cpu",
        converted=True,
        floats="fp32",
        accuracy_level=4,
        unfit={
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
    ),
    ExecutionProvider(
        name="CUDAExecutionProvider",
        device="gpu",
        library="onnxruntime_providers_cuda",
        genai_name="cuda",
        genai_options=dict.fromkeys(("enable_cuda_graph", "enable_skip_layer_norm_strict_mode"), _ANY_WORD),
        converted=True,
        unfit={"fp32": _LOSES_ITS_CACHE},
        ignored=frozenset({"accuracy_level"}),  # its kernels read none
    ),
    ExecutionProvider(name="TensorrtExecutionProvider", device="gpu", library="onnxruntime_providers_tensorrt"),
    ExecutionProvider(
        name="OpenVINOExecutionProvider",
        device="npu",
        library="onnxruntime_providers_openvino",
        genai_name="OpenVINO",
        genai_options={
            # One device: what of AUTO, HETERO or MULTI computes, no profile tells, and the plug-in takes none of them.
            "device_type": "CPU|GPU|NPU",
            "enable_causallm": "True|False",
            "load_config": rf' *\{{ *"NPU" *: *\{{ *{_LENGTH}(?: *, *{_LENGTH})? *\}} *\}} *',
        },
        contexts=OPENVINO_IR,
    ),
    ExecutionProvider(
        name="QNNExecutionProvider",
        device="npu",
        library="onnxruntime_providers_qnn",
        genai_name="QNN",
        genai_options={
            "backend_path": r"QnnHtp\.dll|libQnnHtp\.so",
            "backend_type": "htp",
            "htp_performance_mode": _QNN_MODES,
            "htp_graph_finalization_optimization_mode": "[0-3]",
            "soc_model": _NUMBER,
            "vtcm_mb": _NUMBER,
            "enable_htp_shared_memory_allocator": _FLAG,
        },
        contexts=QNN_BINARY,
    ),
    ExecutionProvider(name="ROCMExecutionProvider", device="gpu", library="onnxruntime_providers_rocm"),
    ExecutionProvider(name="MIGraphXExecutionProvider", device="gpu", library="onnxruntime_providers_migraphx"),
    ExecutionProvider(
        name="VitisAIExecutionProvider",
        device="npu",
        library="onnxruntime_providers_vitisai",
        genai_name="VitisAI",  # without options: `config_file` names plug-ins, and `external_ep_libray` is a library
    ),
    ExecutionProvider(
        name="DmlExecutionProvider",
        device="gpu",
        library="directml",
        genai_name="dml",
        genai_options={"enable_graph_capture": _ANY_WORD},
        converted=True,
        unfit={
            "fp32": Unfit(why="the builder stops at its attention mask", instead="fp16 takes half of it"),
            "bf16": _FOR_CUDA_ALONE,
        },
        ignored=frozenset({"accuracy_level"}),
    ),
    ExecutionProvider(
        name="WebGpuExecutionProvider",
        device="gpu",
        library="onnxruntime_providers_webgpu",
        genai_name="webgpu",
        genai_options=dict.fromkeys(
            ("enableGraphCapture", "validationMode", "multiRotaryCacheConcatOffset", "forceCpuNodeNames"), _ANY_WORD
        ),
        converted=True,
        unfit={"bf16": _FOR_CUDA_ALONE},
        accuracy_level=4,
    ),
    ExecutionProvider(
        name="NvTensorRTRTXExecutionProvider",
        device="gpu",
        library="onnxruntime_providers_nv_tensorrt_rtx",
        genai_name="NvTensorRtRtx",
        genai_options=dict.fromkeys(("enable_cuda_graph", "multi_rotary_cache_concat_offset"), _ANY_WORD),
        converted=True,
        unfit={
            "fp32": _LOSES_ITS_CACHE,
            "bf16": _FOR_CUDA_ALONE,
            "int8": Unfit(why="the builder has no 8 bits in the form that it takes", instead="fp16 is more faithful"),
        },
        rounded_by=DEQUANTIZE,
        # Other algorithms leave operators of the CPU behind, whatever form is asked for.
        ignored=frozenset({"accuracy_level", "algorithm"}),
    ),
)
_GENAI = {one.genai_name: one for one in PROVIDERS if one.genai_name}
_GENAI_IN_ANY_CASE = {name.lower(): one for name, one in _GENAI.items() if name != "cuda"}
CONVERTED = {one.name: one for one in PROVIDERS if one.converted}
CONVERTED_DEVICES = tuple(dict.fromkeys(one.device for one in CONVERTED.values()))
DEFAULT_PROVIDER = next(iter(CONVERTED.values()))
CONVERTIBLE = tuple(name for name in TABLE if any(name in one.precisions for one in CONVERTED.values()))


PROVIDER_LABEL = "reconciler.foundry/provider-"  # that a machine has of itself, for each of its providers

# What people write in the place of a provider's name, each with the provider that they mean: cuda, directml, webgpu.
PROVIDER_NICKNAMES = {
    nickname: one.name
    for one in CONVERTED.values()
    for nickname in (one.device * (one is DEFAULT_PROVIDER), one.genai_name, one.library.rpartition("providers_")[2])
    if nickname
}


def takes_compiled(name: str) -> bool:
    """Whether what was compiled beforehand may lie beside a graph for the provider of this name."""
    return any(one.name == name and one.contexts for one in PROVIDERS)


def absent_provider_hint(name: str) -> str:
    """What to do where a machine does not have the provider of a model's target."""
    return f"choose its machines by nodeSelector ({PROVIDER_LABEL}{name}); docs/execution-providers.md: how one gets it"


def converted_for(name: str) -> ExecutionProvider:
    """The provider of this name; the CPU where models are not converted for it."""
    return CONVERTED.get(name, DEFAULT_PROVIDER)


def floats_of(precision: str, provider: ExecutionProvider) -> str:
    """The type of all numbers that are not rounded."""
    return provider.floats if TABLE[precision].rounded else TABLE[precision].floats


def honoured_options(
    precision: str, algorithm: str = "default", provider: ExecutionProvider = DEFAULT_PROVIDER
) -> frozenset[str]:
    """The fields of `manifest.Quantization` that act on `precision`."""
    found = TABLE[precision]
    keeps_zero_points = found.has_algorithms and algorithm in K_QUANT
    return found.options - provider.ignored - ({"symmetric"} if keeps_zero_points else set())


def auto_precisions(provider: ExecutionProvider) -> tuple[str, ...]:
    """What `precisions: auto` may take where it names none: rounded ones. What is not rounded takes three to five times
    the memory for what few notice."""
    return tuple(name for name in provider.precisions if TABLE[name].rounded and name not in provider.slow)


def named_in_genai(name: str) -> ExecutionProvider | None:
    """By its name in `provider_options`, as the runtime reads it: `DML` is dml, `WebGPU` webgpu, but CUDA no cuda."""
    return _GENAI.get(name) or _GENAI_IN_ANY_CASE.get(name.lower())


def provider_of(config: dict[str, Any]) -> ExecutionProvider:
    """The one that a checked genai_config.json asks for first; the CPU's where it asks for none. Raises KeyError for
    one that is not known."""
    name, _ = _asked(config)
    found = named_in_genai(name) if name is not None else DEFAULT_PROVIDER
    if found is None:
        raise KeyError(name)
    return found


def device_of(config: dict[str, Any]) -> str:
    """Of that provider, in Foundry Local's words. OpenVINO has several, and takes the CPU where none is asked for."""
    found, (_, options) = provider_of(config), _asked(config)
    return str(options.get("device_type", "CPU")).lower() if found.contexts == OPENVINO_IR else found.device


def stages_of(config: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The graphs of a model that is a pipeline of several, by their names."""
    return [stage for one in config.get("model", {}).get("decoder", {}).get("pipeline", ()) for stage in one.items()]


def asked_of(config: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each provider that any graph asks for, with its options."""
    sessions = [config.get("model", {}).get("decoder", {}), *(stage for _, stage in stages_of(config))]
    options = [one for held in sessions for one in held.get("session_options", {}).get("provider_options", ())]
    return [asked for one in options for asked in one.items()]


def _asked(config: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    return next(iter(asked_of(config)), (None, {}))
