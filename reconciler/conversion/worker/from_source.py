"""What an artifact takes over from its source, after Olive: the settings of `generation_config.json` that act in the
runtime, and every token that ends an answer. The builder copies a part of them, and leaves out the rest in silence.
"""

import json
import os
from typing import Any

from reconciler.domain.errors import ConversionFailed
from reconciler.domain.sources.generation_config import end_tokens, search_settings

GENAI_CONFIG = "genai_config.json"


def take_over(source: str, artifact: str) -> None:
    """Both are folders; only the artifact's files change."""
    path = os.path.join(artifact, GENAI_CONFIG)
    generation, config = (_object(source, name) for name in ("generation_config.json", "config.json"))
    genai = _object(artifact, GENAI_CONFIG)
    genai["search"] = {**genai.get("search", {}), "num_beams": 1, **search_settings(generation)}
    ends = end_tokens(generation, config, {"eos_token_id": _token_id(source)})
    if not ends:
        raise ConversionFailed("no token ends an answer: eos_token_id is nowhere in the source")
    model = genai["model"] = {**genai.get("model", {}), "eos_token_id": ends if len(ends) > 1 else ends[0]}
    if model.get("pad_token_id") is None:
        model["pad_token_id"] = ends[0]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(genai, file, indent=4)


def _token_id(source: str) -> int | None:
    """Of the tokenizer's own end token."""
    wanted = _object(source, "tokenizer_config.json").get("eos_token")
    text = wanted.get("content") if isinstance(wanted, dict) else wanted
    added = _object(source, "tokenizer.json").get("added_tokens") or ()
    return next((one["id"] for one in added if text is not None and one["content"] == text), None)


def _object(folder: str, name: str) -> dict[str, Any]:
    """Empty where there is no such file."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        held: dict[str, Any] = json.load(file)
    return held
