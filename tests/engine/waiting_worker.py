"""A converter that does what files beside the source's weights say, so that a test decides how long it works and how it
ends. `imports`: the first request takes as long as that file is there."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from reconciler.conversion.order import Order
from reconciler.conversion.worker import Worker
from reconciler.core.errors import ConversionFailed

TREE = {
    "model.onnx": b"graph",
    "model.onnx.data": b"w" * 100_000,
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "genai_config.json": b"{}",
}


def work(order: Order) -> None:
    told = os.path.join(order.source, os.pardir)
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


class Slow(Worker):
    """Imports for as long as the file is there."""

    def begin(self, parameters: dict[str, Any], emit: Any) -> dict[str, Any]:
        told = os.path.join(parameters["order"]["source"], os.pardir)
        _append(os.path.join(told, "workers"), str(os.getpid()))
        while os.path.exists(os.path.join(told, "imports")):
            time.sleep(0.01)
        return super().begin(parameters, emit)


if __name__ == "__main__":
    Slow(work, needs_tools=False).serve()
