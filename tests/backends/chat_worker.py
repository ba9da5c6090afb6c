"""Renders chat templates with onnxruntime_genai: one JSON line per request on stdin, one per answer on stdout.

A tokenizer belongs to a model there, so a model of sixteen tokens that computes nothing is made first.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

SIZE = 16


def make_model(folder: Path, tokenizer: Path) -> None:
    from onnx import TensorProto, helper, save

    def value(name: str, kind: int, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    cache = (
        [f"past_key_values.0.{part}" for part in ("key", "value")],
        [f"present.0.{part}" for part in ("key", "value")],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["logits"]),
            *(helper.make_node("Identity", [past], [present]) for past, present in zip(*cache, strict=True)),
        ],
        "nothing",
        [
            value("input_ids", TensorProto.INT64, "b", "s"),
            value("attention_mask", TensorProto.INT64, "b", "t"),
            *(value(name, TensorProto.FLOAT, "b", 1, "p", 1) for name in cache[0]),
        ],
        [
            value("logits", TensorProto.FLOAT, "b", "s", SIZE),
            *(value(name, TensorProto.FLOAT, "b", 1, "t", 1) for name in cache[1]),
        ],
        [helper.make_tensor("table", TensorProto.FLOAT, [SIZE, SIZE], [0.0] * SIZE * SIZE)],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    decoder = {
        "filename": "model.onnx",
        "session_options": {"provider_options": []},
        **dict.fromkeys(
            ("head_size", "hidden_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads"), 1
        ),
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
    config = {"type": "qwen2", "vocab_size": SIZE, "context_length": 64, **ids, "decoder": decoder}
    (folder / "genai_config.json").write_text(json.dumps({"model": config, "search": {"max_length": 64}}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder / name)


def main(folder: Path, tokenizer: Path) -> None:
    import onnxruntime_genai

    make_model(folder, tokenizer)
    renderer = onnxruntime_genai.Tokenizer(onnxruntime_genai.Model(str(folder)))
    for line in sys.stdin:
        template, messages, asked = json.loads(line)
        try:
            text = renderer.apply_chat_template(
                messages=json.dumps(messages), template_str=template, add_generation_prompt=asked
            )
        except RuntimeError as error:
            text = f"error: {error}"
        print(json.dumps(text), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
