"""A model whose tensors lie elsewhere: the second look at a converted folder refuses it and reads none of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.conversion.worker.checks import check_artifact
from reconciler.domain.errors import ConversionFailed
from tests.conversions import look, recipe_of
from tests.extras import needs

needs("onnx", "convert")

SMALL = {"genai_config.json": {"model": {"decoder": {"filename": "model.onnx"}, "context_length": 8}, "search": {}},
         "tokenizer.json": {}, "tokenizer_config.json": {}}  # fmt: skip


def artifact(folder: Path, **place: str) -> None:
    """A whole artifact, but for where its only tensor is said to lie."""
    import onnx

    for name, document in SMALL.items():
        (folder / name).write_text(json.dumps(document))
    (folder / "model.onnx.data").write_bytes(b"\0" * 64)
    tensor: Any = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4, 4], data_location=1)
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [4, 4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["logits"])], "g", [], [logits], [tensor])
    (folder / "model.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize(
    "place",
    [
        *({"location": name} for name in ("../secret", "/etc/passwd", "C:\\x", "model.onnx", "")),
        *({"offset": offset} for offset in ("-1", "1", "64", str(1 << 63))),
        *({"length": length} for length in ("-1", "65", str(1 << 63))),
    ],
    ids=str,
)
def test_a_tensor_that_lies_elsewhere_is_refused(place: dict[str, str], tmp_path: Path, capitals: Path) -> None:
    artifact(tmp_path, **{"location": "model.onnx.data", "offset": "0", "length": "64"} | place)
    with pytest.raises(ConversionFailed, match=r"lies outside model\.onnx\.data"):
        check_artifact(str(tmp_path), recipe_of(look(capitals), "fp32"))
