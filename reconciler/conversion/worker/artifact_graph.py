"""The graph of an artifact, as its genai_config.json names it: a ready ONNX folder may call it anything."""

import json
import os
from typing import Any


def graph_name(folder: str) -> str:
    """A plain name: what else it could be was refused when the folder was looked at."""
    return os.path.basename(str(_decoder(folder)["filename"]))


def asks_for_a_provider(folder: str) -> bool:
    options = _decoder(folder).get("session_options", {}).get("provider_options")
    return bool(options)


def _decoder(folder: str) -> dict[str, Any]:
    with open(os.path.join(folder, "genai_config.json"), encoding="utf-8") as file:
        decoder: dict[str, Any] = json.load(file)["model"]["decoder"]
    return decoder
