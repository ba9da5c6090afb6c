"""Checks of the weights before a conversion, and of the converted folder after it: is it complete, are its numbers
finite, and is it what the recipe asks for?

transformers fills a missing tensor with random numbers, and quantization hides NaNs. Both end in a
model that loads and answers nonsense.
"""

import json
import math
import os
from collections import Counter
from typing import Any

from reconciler.conversion.worker.artifact_graph import float_type
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.release import Recipe
from reconciler.domain.targets.execution_providers import ExecutionProvider, converted_for, floats_of, provider_of
from reconciler.domain.targets.precisions import DEQUANTIZE, K_QUANT, NBITS, TABLE

MODEL = "model.onnx"
DATA = "model.onnx.data"
_NEEDED = (MODEL, DATA, "genai_config.json", "tokenizer.json", "tokenizer_config.json")
_SCANNED_AT_ONCE = 1 << 24  # numbers


def check_weights(model: str, files: list[str]) -> None:
    """`files` are all safetensors of the model and its adapter."""
    from safetensors import safe_open

    expected = _expected_shapes(model)
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and not _is_finite(tensor):
                    raise ConversionFailed(f"tensor {name} of the source holds numbers that are not finite")
                shape = tuple(tensor.shape)
                if name in expected and expected.pop(name) != shape:
                    raise ConversionFailed(f"tensor {name} has the shape {shape}, config.json asks for another")
    if expected:
        raise ConversionFailed(f"{len(expected)} tensors are missing, the first is {sorted(expected)[0]}")


def _is_finite(tensor: Any) -> bool:
    """The least and the greatest number are not finite where any is not: a twentieth of what asking each costs."""
    import torch

    return not tensor.numel() or bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def _expected_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """As the architecture needs them, built without memory. Tied weights exist once."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    tied: Any = getattr(empty, "all_tied_weights_keys", {})
    return {name: tuple(value.shape) for name, value in empty.state_dict().items() if name not in tied}


def check_artifact(folder: str, recipe: Recipe) -> None:
    for name in _NEEDED:
        path = os.path.join(folder, name)
        if not os.path.isfile(path) or not os.path.getsize(path):
            raise ConversionFailed(f"the converter left no {name}, or an empty one")
    provider = converted_for(recipe.target.execution_provider)
    _check_genai_config(_json(folder, "genai_config.json"), provider)
    _json(folder, "tokenizer.json")
    _json(folder, "tokenizer_config.json")
    model = _parse(os.path.join(folder, MODEL))
    _check_tensors(model, folder)
    _check_width(model, floats_of(recipe.precision, provider))
    _check_rounding(model, recipe, provider)


def _json(folder: str, name: str) -> dict[str, Any]:
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            value = json.load(file)
    except ValueError:
        raise ConversionFailed(f"the converter left a {name} that is not valid JSON") from None
    if not isinstance(value, dict):
        raise ConversionFailed(f"the converter left a {name} that is no JSON object")
    return value


def _check_genai_config(config: dict[str, Any], provider: ExecutionProvider) -> None:
    try:
        model = config["model"]
        right = model["decoder"]["filename"] == MODEL and model["context_length"] > 0 and "search" in config
        asked = provider_of(config)
    except (KeyError, TypeError):
        right, asked = False, provider
    if not right:
        raise ConversionFailed("the converter left a genai_config.json without what the runtime needs")
    if asked is not provider:  # guard: what is converted asks for the provider of its recipe
        raise ConversionFailed(f"the result asks for {asked.name}, though {provider.name} was asked for")


def _parse(path: str) -> Any:
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ConversionFailed(f"the converter left a {MODEL} that cannot be read") from error
    if not model.graph.node or not any(output.name == "logits" for output in model.graph.output):
        raise ConversionFailed(f"the converter left a {MODEL} without the output `logits`")
    return model


def _check_tensors(model: Any, folder: str) -> None:
    import numpy
    from onnx import TensorProto, helper
    from onnx.numpy_helper import to_array

    data = numpy.memmap(os.path.join(folder, DATA), mode="r")
    floats = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE
    widths = {one: helper.tensor_dtype_to_np_dtype(one) for one in floats}
    for tensor in model.graph.initializer:
        kind = widths.get(tensor.data_type)
        raw = _external(tensor, data)
        if raw is not None and kind and len(raw) != math.prod(tensor.dims) * kind.itemsize:
            raise ConversionFailed(f"tensor {tensor.name} of the result holds {len(raw)} bytes for {[*tensor.dims]}")
        values = to_array(tensor) if raw is None else raw.view(kind) if kind else None
        if values is not None and kind is not None and not _all_finite(values.reshape(-1)):
            raise ConversionFailed(f"tensor {tensor.name} of the result holds numbers that are not finite")


def _external(tensor: Any, data: Any) -> Any:
    """The tensor's bytes in the data file; None when the model itself holds them."""
    if not tensor.external_data:
        return None
    place = {entry.key: entry.value for entry in tensor.external_data}
    begin, length = int(place.get("offset", 0)), int(place["length"])
    if place.get("location") != DATA or begin < 0 or length < 0 or begin + length > len(data):
        raise ConversionFailed(f"tensor {tensor.name} of the result lies outside {DATA}")
    return data[begin : begin + length]


def _all_finite(values: Any) -> bool:
    import numpy

    parts = range(0, len(values), _SCANNED_AT_ONCE)
    return all(bool(numpy.isfinite(values[begin : begin + _SCANNED_AT_ONCE]).all()) for begin in parts)


def _check_width(model: Any, wanted: str) -> None:
    found = float_type(model.graph)
    if found != wanted:
        raise ConversionFailed(f"the floats of the result are {found or 'none'}, expected {wanted}")


def _check_rounding(model: Any, recipe: Recipe, provider: ExecutionProvider) -> None:
    """Olive silently drops options: read their effect back."""
    rounded = [node for node in model.graph.node if node.op_type in (NBITS, DEQUANTIZE)]
    # guard: rounded weights are read by an operator that the provider has
    if others := {node.op_type for node in rounded} - {provider.rounded_by}:
        raise ConversionFailed(f"rounded weights are read by {', '.join(others)}, expected {provider.rounded_by}")
    found = Counter(map(_rounding, rounded))
    precision = TABLE[recipe.precision]
    if not precision.rounded:
        if found:
            raise ConversionFailed(f"the converter rounded weights, though {recipe.precision} was asked for")
        return
    options = recipe.options
    widths = {precision.bits, 8} if options.get("algorithm") in K_QUANT else {precision.bits}
    zero_points = options.get("algorithm") in K_QUANT or not options.get("symmetric", True)
    block, level = options.get("block_size", 32), options.get("accuracy_level", provider.accuracy_level)
    wanted = {(bits, block, level, zero_points) for bits in widths}
    if set(found) != wanted:
        raise ConversionFailed(f"rounded as {_shown(set(found))}, though the recipe asks for {_shown(wanted)}")


def _rounding(node: Any) -> tuple[int, int, int, bool]:
    """DequantizeLinear has no bits of its own: what it is made with are four (`read_back` looks at their type)."""
    numbers = {attribute.name: attribute.i for attribute in node.attribute}
    zeros = 3 if node.op_type == NBITS else 2
    has_zero_points = len(node.input) > zeros and bool(node.input[zeros])
    return numbers.get("bits", 4), numbers["block_size"], numbers.get("accuracy_level", 0), has_zero_points


def _shown(roundings: set[Any]) -> str:
    described = (
        f"{bits} bits in blocks of {block}, accuracy level {level}, {'with' if zero_points else 'without'} zero points"
        for bits, block, level, zero_points in sorted(roundings)
    )
    return " and ".join(described) or "nothing"
