"""The graph of an artifact, as its genai_config.json names it (a ready ONNX folder may call it anything), and of which
type its numbers are."""

import json
import os
from typing import Any

from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER, provider_of


def graph_name(folder: str) -> str:
    """A plain name: what else it could be was refused when the folder was looked at."""
    return os.path.basename(str(_config(folder)["model"]["decoder"]["filename"]))


def made_for(folder: str) -> str:
    """The execution provider that it asks for first; "" for the CPU's."""
    found = provider_of(_config(folder))
    return found.name if found is not DEFAULT_PROVIDER else ""


def float_type(graph: Any) -> str:
    """That of its largest matrix of floats, in the words of domain.targets.precisions; "" where there is none."""
    from onnx import TensorProto

    known = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    floats = [tensor for tensor in graph.initializer if tensor.data_type in known and len(tensor.dims) == 2]
    widest = max(floats, key=lambda tensor: tensor.dims[0] * tensor.dims[1], default=None)
    return known[widest.data_type] if widest is not None else ""


def _config(folder: str) -> dict[str, Any]:
    with open(os.path.join(folder, "genai_config.json"), encoding="utf-8") as file:
        config: dict[str, Any] = json.load(file)
    return config
