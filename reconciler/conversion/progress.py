"""How far a conversion is, read from what the builder prints."""

import json
import os
import re
from typing import Any

_LAYER = re.compile(rb"Reading layer (\d+)")
_STEPS = (
    (b"Reading embedding layer", 0.10, "reading weights"),
    (b"Reading final norm", 0.80, "reading weights"),
    (b"Reading LM head", 0.82, "reading weights"),
    (b"Saving ONNX model", 0.85, "writing the model"),
    (b"Saving GenAI config", 0.95, "writing the model"),
)


class Progress:
    """Fed with output in any pieces; `fraction` never falls."""

    def __init__(self, source: str) -> None:
        self.fraction = 0.0
        self.text = "loading"
        self._layers = _layer_count(source)
        self._rest = b""

    def read(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-1000:]
        for line in lines:
            self._look_at(line)

    def _look_at(self, line: bytes) -> None:
        if layer := _LAYER.match(line):
            number = int(layer[1]) + 1
            self._advance(0.1 + 0.7 * min(1.0, number / self._layers), f"layer {number} of {self._layers}")
        for beginning, fraction, text in _STEPS:
            if line.startswith(beginning):
                self._advance(fraction, text)

    def _advance(self, fraction: float, text: str) -> None:
        if fraction > self.fraction:
            self.fraction, self.text = round(fraction, 3), text


def model_type(source: str) -> str:
    return str(_config(source).get("model_type", ""))


def _layer_count(source: str) -> int:
    count = _config(source).get("num_hidden_layers")
    return count if isinstance(count, int) and count > 0 else 1


def _config(source: str) -> dict[str, Any]:
    try:
        with open(os.path.join(source, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
