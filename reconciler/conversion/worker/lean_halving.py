"""Olive's OnnxFloatToFloat16 with a piece of one matrix in single precision at a time, instead of the whole model some
times over. As in lean_olive, what is replaced is called, and the bytes are the same."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from reconciler.conversion.worker.exact_graph import graphs

AT_ONCE = 1 << 22  # numbers
_SMALL = 1 << 12  # bytes: what shapes may be computed from is loaded as ever


@contextmanager
def lean_halving() -> Iterator[None]:
    """For one conversion at a time: a method of a class and a function of a module are replaced."""
    from olive.model import ONNXModelHandler
    from onnxruntime.transformers import onnx_model

    float16: Any = sys.modules[onnx_model.convert_float_to_float16.__module__]
    usual = ONNXModelHandler.load_model, float16.convert_tensor_float_to_float16
    folders: list[str] = []
    ONNXModelHandler.load_model = lambda handler, *_, **__: _without_matrices(handler.model_path, folders)
    float16.convert_tensor_float_to_float16 = lambda tensor, *limits: _halved(usual[1], tensor, limits, folders)
    try:
        yield
    finally:
        ONNXModelHandler.load_model, float16.convert_tensor_float_to_float16 = usual


def _without_matrices(path: str, folders: list[str]) -> Any:
    """The model, whose matrices stay in their file. Its folder is the last of `folders`."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor, uses_external_data

    model, folder = onnx.load(path, load_external_data=False), os.path.dirname(path)
    folders.append(folder)
    for graph in graphs(model.graph):
        for tensor in filter(uses_external_data, graph.initializer):
            length = ExternalDataInfo(tensor).length or 0
            if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) != 2 or length <= _SMALL:
                load_external_data_for_tensor(tensor, folder)
    return model


def _halved(convert: Callable[..., Any], tensor: Any, limits: tuple[Any, ...], folders: list[str]) -> Any:
    """In place, as `convert` does. What a message once held is freed with the message: so each piece has its own."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    if not uses_external_data(tensor):
        return convert(tensor, *limits)
    place = ExternalDataInfo(tensor)
    length, halves = place.length or 0, []
    with open(os.path.join(folders[-1], place.location), "rb") as file:
        file.seek(place.offset or 0)
        for done in range(0, length, 4 * AT_ONCE):
            data = file.read(min(4 * AT_ONCE, length - done))
            piece = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, raw_data=data)
            halves.append(convert(piece, *limits).raw_data)
    tensor.data_type, tensor.data_location = onnx.TensorProto.FLOAT16, onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    tensor.raw_data = b"".join(halves)
    return tensor
