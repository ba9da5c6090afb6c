"""A converter that does what files beside the source's weights say, so that a test decides how long it works and how it
ends. `imports`: the first request takes as long as that file is there; `uncompared` and `die-comparing`: the artifact
cannot be compared with its source, or whoever compares them is killed; `wait-comparing`: that takes as long."""

import json
import os
import signal
import time
from typing import Any

from reconciler.conversion.order import Order
from reconciler.conversion.worker.main import ConversionWorker
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.measured import TEXTS_DIGEST

TREE = {
    "model.onnx": b"graph",
    "model.onnx.data": b"w" * 100_000,
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "genai_config.json": json.dumps(
        {"model": {"type": "qwen2", "context_length": 64, "decoder": {}}, "search": {"max_length": 64}}
    ).encode(),
}


def work(order: Order) -> dict[str, Any] | None:
    told = os.path.join(order.source, os.pardir)
    if order.compared is not None:
        return _compare(order, told)
    _convert(order, told)
    return None


def _compare(order: Order, told: str) -> dict[str, Any]:
    """As a faithful conversion to 4 bits is found."""
    _append(os.path.join(told, "compared"), str(os.getpid()))
    while os.path.exists(os.path.join(told, "wait-comparing")):
        time.sleep(0.01)
    if os.path.exists(os.path.join(told, "uncompared")):
        raise ConversionFailed("the source does not fit into memory")
    if os.path.exists(os.path.join(told, "die-comparing")):
        os.kill(os.getpid(), signal.SIGKILL)
    return {
        "build_key": order.recipe.build_key,
        "prompts": TEXTS_DIGEST,
        "positions": 800,
        "top1_agreement": 0.9,
        "mean_kl": 0.02,
        "perplexity_ratio": 1.01,
        "wiring_kl": 1e-9,
    }


def _convert(order: Order, told: str) -> None:
    _append(os.path.join(told, "pids"), str(os.getpid()))
    while os.path.exists(os.path.join(told, "wait")):
        time.sleep(0.01)
    if os.path.exists(os.path.join(told, "fail")):
        raise ConversionFailed("NaN in layer 3")
    if os.path.exists(os.path.join(told, "die")):
        os.kill(os.getpid(), signal.SIGKILL)
    os.makedirs(order.output)
    for name, data in TREE.items():
        with open(os.path.join(order.output, name), "wb") as file:
            file.write(data)


def _append(path: str, line: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


class Slow(ConversionWorker):
    """Imports for as long as the file is there."""

    def begin(self, parameters: dict[str, Any], emit: Any) -> dict[str, Any]:
        told = os.path.join(parameters["order"]["source"], os.pardir)
        _append(os.path.join(told, "workers"), str(os.getpid()))
        while os.path.exists(os.path.join(told, "imports")):
            time.sleep(0.01)
        return super().begin(parameters, emit)


if __name__ == "__main__":
    Slow(work, needs_tools=False).serve()
