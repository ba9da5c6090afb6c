"""`genai_config.json`, written key by key from an allow-list.

The runtime obeys this file, and one of its keys (`custom_ops_library`) makes it load a native library before
any check. So nothing is copied: what the list below does not know, in the form it expects, is refused by
name. The list holds what the pinned builder writes for every family it converts (onnxruntime-genai 0.14.1 and
0.18.0).
"""

import json
from collections.abc import Callable
from typing import Any

from reconciler.domain.errors import PermanentError
from reconciler.domain.manifest import Generation
from reconciler.domain.targets import VERIFIED_PROVIDERS

Check = Callable[[object], bool]

_PROVIDER_OPTIONS = {one.genai_name: one.genai_options for one in VERIFIED_PROVIDERS.values() if one.genai_name}


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 200


def _is_file_name(value: object) -> bool:
    """A plain name beside the configuration: never a path that leads elsewhere."""
    return _is_word(value) and str(value) not in {"", ".", ".."} and not set(str(value)) & set("/\\:\0")


def _is_token(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, list) and bool(value) and all(map(_is_whole, value)))


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_word, value))


def _are_whole(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_whole, value))


def _are_provider_options(value: object) -> bool:
    """They can name libraries to load, so a verified provider may have those that the builder writes, and no others."""
    return isinstance(value, list) and all(
        isinstance(one, dict) and all(_is_provider(name, options) for name, options in one.items()) for one in value
    )


def _is_provider(name: str, options: object) -> bool:
    known = _PROVIDER_OPTIONS.get(name)
    return (
        known is not None
        and isinstance(options, dict)
        and options.keys() <= known
        and all(map(_is_word, options.values()))
    )


_SESSION_OPTIONS: dict[str, Any] = {
    "log_id": _is_word,
    "log_severity_level": _is_whole,
    "intra_op_num_threads": _is_whole,
    "inter_op_num_threads": _is_whole,
    "enable_cpu_mem_arena": _is_flag,
    "enable_mem_pattern": _is_flag,
    "provider_options": _are_provider_options,
}

_INPUTS: dict[str, Any] = dict.fromkeys(
    (
        "input_ids",
        "inputs_embeds",
        "attention_mask",
        "position_ids",
        "past_key_names",
        "past_value_names",
        "past_conv_names",
    ),
    _is_word,
)

_OUTPUTS: dict[str, Any] = dict.fromkeys(
    ("logits", "hidden_states", "present_key_names", "present_value_names", "present_conv_names"), _is_word
)

_SLIDING_WINDOW: dict[str, Any] = {
    "window_size": _is_whole,
    "pad_value": _is_whole,
    "alignment": _is_word,
    "slide_key_value_cache": _is_flag,
    "slide_inputs": _is_flag,
    "layers": _are_whole,
    "cache_slack": _is_whole,
}

_ALLOWED: dict[str, Any] = {
    "model": {
        "type": _is_word,
        "bos_token_id": _is_whole,
        "eos_token_id": _is_token,
        "pad_token_id": _is_whole,
        "image_token_id": _is_whole,
        "vocab_size": _is_whole,
        "context_length": _is_whole,
        "decoder": {
            "filename": _is_file_name,
            "head_size": _is_whole,
            "hidden_size": _is_whole,
            "num_attention_heads": _is_whole,
            "num_hidden_layers": _is_whole,
            "num_key_value_heads": _is_whole,
            "conv_cache_size": _is_whole,
            "layer_types": _are_words,
            "inputs": _INPUTS,
            "outputs": _OUTPUTS,
            "session_options": _SESSION_OPTIONS,
            "sliding_window": _SLIDING_WINDOW,
        },
    },
    "search": {
        "diversity_penalty": _is_number,
        "do_sample": _is_flag,
        "early_stopping": _is_flag,
        "length_penalty": _is_number,
        "max_length": _is_whole,
        "min_length": _is_whole,
        "no_repeat_ngram_size": _is_whole,
        "num_beams": _is_whole,
        "num_return_sequences": _is_whole,
        "past_present_share_buffer": _is_flag,
        "random_seed": _is_whole,
        "repetition_penalty": _is_number,
        "temperature": _is_number,
        "top_k": _is_whole,
        "top_p": _is_number,
    },
}

_SEARCH_KEYS = {
    "max_length": "max_length",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram_size",
    "random_seed": "random_seed",
}


def genai_config(text: bytes, generation: Generation) -> dict[str, Any]:
    """The artifact's configuration with the manifest's generation defaults in it."""
    try:
        config: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(f"genai_config.json is not JSON: {error}") from None
    _check(config, _ALLOWED, "")
    context = context_length(config)
    if generation.max_length is not None and generation.max_length > context:
        raise PermanentError(
            f"generation.maxLength is {generation.max_length}, but the model holds only {context} tokens",
            code="MaxLengthTooLarge",
            hint=f"set spec.generation.maxLength to {context} or less",
        )
    config.setdefault("search", {}).update(_search(generation))
    return dict(config)


def context_length(config: dict[str, Any]) -> int:
    length = config.get("model", {}).get("context_length")
    if not _is_whole(length) or length < 1:
        raise _refused(f"genai_config.json: model.context_length: expected a whole number, got {length!r}")
    return int(length)


def _search(generation: Generation) -> dict[str, Any]:
    declared = {name: getattr(generation, field) for field, name in _SEARCH_KEYS.items()}
    search = {name: value for name, value in declared.items() if value is not None}
    if "temperature" in search or "top_k" in search:
        # Foundry Local 2.2.1 ignores do_sample (temperature 0 or top_k 1 make it greedy); other runtimes obey
        # it.
        search["do_sample"] = search.get("temperature", 1) > 0 and search.get("top_k") != 1
    return search


def _check(value: object, allowed: dict[str, Any] | Check, path: str) -> None:
    if callable(allowed):
        if not allowed(value):
            raise _refused(f"genai_config.json: {path}: unexpected value {_short(value)}")
        return
    if not isinstance(value, dict):
        raise _refused(f"genai_config.json: {path or 'the file'}: expected an object, got {_short(value)}")
    for key, inner in value.items():
        where = f"{path}.{key}" if path else key
        if key not in allowed:  # guard: keys of genai_config.json by allow-list
            raise _refused(f"genai_config.json: {where[:200]}: not on the list of keys that may be served")
        _check(inner, allowed[key], where)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refused(message: str) -> PermanentError:
    return PermanentError(
        message,
        code="GenaiConfigRefused",
        hint="the runtime obeys this file, so only known keys pass: convert again with the pinned tools",
    )
