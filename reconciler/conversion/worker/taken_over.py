"""What an artifact takes over from its source, after Olive: the tokenizer's own file, the settings of
`generation_config.json` that act in the runtime, and every token that ends an answer. transformers writes the tokenizer
anew while it saves it, and the builder leaves out a part of the settings, both in silence.
"""

import json
import os
import shutil
from typing import Any

from reconciler.domain.errors import ConversionFailed
from reconciler.domain.sources.generation_config import end_tokens, search_settings

GENAI_CONFIG, TOKENIZER, TOKENIZER_CONFIG = "genai_config.json", "tokenizer.json", "tokenizer_config.json"


def take_over(source: str, artifact: str) -> None:
    """Both are folders; only the artifact's files change."""
    tokenizer = _object(source, TOKENIZER)
    generation, config = (_object(source, name) for name in ("generation_config.json", "config.json"))
    genai = _object(artifact, GENAI_CONFIG)
    model = genai["model"]
    ends = end_tokens(model["vocab_size"], generation, config, {"eos_token_id": _token_id(source, tokenizer)})
    if not ends:
        raise ConversionFailed("no token ends an answer: the source names no eos_token_id that the model knows")
    # As transformers: where there is no such file, config.json is asked.
    genai["search"] = {**genai.get("search", {}), "num_beams": 1, **search_settings(generation or config)}
    model["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    if model.get("pad_token_id") is None:
        model["pad_token_id"] = ends[0]
    _write(artifact, GENAI_CONFIG, genai)
    if _begins_once(tokenizer):
        _write(artifact, TOKENIZER, _without_strip(tokenizer))
    else:
        shutil.copyfile(os.path.join(source, TOKENIZER), os.path.join(artifact, TOKENIZER))
    _write(artifact, TOKENIZER_CONFIG, _for_the_runtime(_object(artifact, TOKENIZER_CONFIG), tokenizer))


def _for_the_runtime(settings: dict[str, Any], tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The runtime goes by the name of a class where tokenizer.json should decide: how text is split before it is
    merged, which tokens are added, what becomes of spaces. Under these two it reads the file as it is."""
    spaces = "\u2581" in json.dumps(tokenizer.get("decoder"), ensure_ascii=False)
    named = {"tokenizer_class": "GemmaTokenizer" if spaces else "PreTrainedTokenizerFast"}
    kept = {name: held for name, held in settings.items() if name != "added_tokens_decoder"}
    return kept | named | {"clean_up_tokenization_spaces": False}


def _begins_once(tokenizer: dict[str, Any]) -> bool:
    """A space is put before the first word of a prompt, but not after each token of the template."""
    scheme = (tokenizer.get("pre_tokenizer") or {}).get("prepend_scheme")
    return scheme == "first" and "decoders" in (tokenizer.get("decoder") or {})


def _without_strip(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The runtime takes from this step of the decoder that it has to put a space before each part of a prompt. Text is
    read by the source's library as before; an answer begins with the space that the step would take away."""
    decoder = tokenizer["decoder"]
    kept = [step for step in decoder["decoders"] if step.get("type") != "Strip"]
    return {**tokenizer, "decoder": {**decoder, "decoders": kept}}


def _token_id(source: str, tokenizer: dict[str, Any]) -> int | None:
    """Of the tokenizer's own end token."""
    wanted = _object(source, TOKENIZER_CONFIG).get("eos_token")
    text = wanted.get("content") if isinstance(wanted, dict) else wanted
    added = tokenizer.get("added_tokens") or ()
    return next((one["id"] for one in added if text is not None and one["content"] == text), None)


def _object(folder: str, name: str) -> dict[str, Any]:
    """Empty where there is no such file."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        held: dict[str, Any] = json.load(file)
    return held


def _write(folder: str, name: str, value: dict[str, Any]) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=4)
