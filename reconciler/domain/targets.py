"""The one table of what a model may run on: ONNX Runtime's execution providers, by ONNX Runtime's names.

All are looked for on a machine, so that an inventory names them; a manifest may name those only that are verified.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ExecutionProvider:
    """`library` is part of the file name by which it is found among the packages of ONNX Runtime, "" where it is in
    each of them. `verified` is whether conversions for it were measured against their source."""

    name: str
    device: str
    library: str = ""
    verified: bool = False


PROVIDERS = (
    ExecutionProvider(name="CPUExecutionProvider", device="cpu", verified=True),
    ExecutionProvider(name="CUDAExecutionProvider", device="gpu", library="onnxruntime_providers_cuda"),
    ExecutionProvider(name="TensorrtExecutionProvider", device="gpu", library="onnxruntime_providers_tensorrt"),
    ExecutionProvider(name="OpenVINOExecutionProvider", device="npu", library="onnxruntime_providers_openvino"),
    ExecutionProvider(name="QNNExecutionProvider", device="npu", library="onnxruntime_providers_qnn"),
    ExecutionProvider(name="ROCMExecutionProvider", device="gpu", library="onnxruntime_providers_rocm"),
    ExecutionProvider(name="MIGraphXExecutionProvider", device="gpu", library="onnxruntime_providers_migraphx"),
    ExecutionProvider(name="VitisAIExecutionProvider", device="npu", library="onnxruntime_providers_vitisai"),
    ExecutionProvider(name="DmlExecutionProvider", device="gpu", library="directml"),
)
VERIFIED = tuple(one for one in PROVIDERS if one.verified)
VERIFIED_NAMES = tuple(one.name for one in VERIFIED)
VERIFIED_DEVICES = tuple(dict.fromkeys(one.device for one in VERIFIED))
DEFAULT = VERIFIED[0]


def is_verified(device: str, provider: str) -> bool:
    return any((one.device, one.name) == (device, provider) for one in VERIFIED)
