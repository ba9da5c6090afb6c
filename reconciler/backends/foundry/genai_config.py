"""Writes `genai_config.json` key by key from an allow-list, and refuses any other key or value by name.

The runtime obeys this file, and one of its keys (`custom_ops_library`) makes it load a native library before any check.
The list holds what the pinned builder writes for every family it converts (onnxruntime-genai 0.14.1 and 0.18.0).
End tokens and search settings were put in at conversion (conversion.worker.taken_over).
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.domain.errors import PermanentError
from reconciler.domain.manifest import Generation
from reconciler.domain.plain_data import as_dict
from reconciler.domain.sources.generation_config import GREEDY, SAMPLING
from reconciler.domain.sources.source_model import AUDIO_PROCESSOR
from reconciler.domain.targets.execution_providers import (
    DEFAULT_PROVIDER,
    OPENVINO_IR,
    asked_of,
    named_in_genai,
    provider_of,
    stages_of,
)
from reconciler.domain.targets.tasks import WHISPER
from reconciler.domain.text.quoting import shown

Test = Callable[[object], bool]
Check = Callable[[object], bool | str]  # whether it may be; or in words what is wrong, "" for nothing

# Why some are not on the lists. Read in the runtimes' own sources (docs/execution-providers.md).
_WHY_NOT = {
    "ryzenai": "it loads a library of operators of its own",
    "vitisai.config_file": "such a file names plug-ins to load",
    "vitisai.external_ep_libray": "it names a library to load",
    "qnn.op_packages": "it names libraries to load",
    "qnn.genie_model": "the file of Genie's that it needs has settings of its own, which are not known here",
    "openvino.cache_dir": "the runtime would write there",
    "openvino.reshape_input": "it is of a model that hears, and those are served on the CPU only",
}


def _of(*kinds: type) -> Test:
    """Exactly one of these types of JSON: True is no whole number."""
    return lambda value: type(value) in kinds


def _list_of(check: Test) -> Test:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 200


def _is_file_name(value: object) -> bool:
    """A plain name beside the configuration: never a path that leads elsewhere."""
    return _is_word(value) and str(value) not in {"", ".", ".."} and not set(str(value)) & set("/\\:\0")


def _is_token(value: object) -> bool:
    return _is_whole(value) or (bool(value) and _list_of(_is_whole)(value))


_is_flag, _is_whole, _is_number = _of(bool), _of(int), _of(int, float)


def _provider_options(value: object) -> str:
    """They can name libraries to load, so each provider may have those that builders write, and no others."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return "expected a list of providers, each an object"
    asked = [found for one in value for found in one.items()]
    known = [named_in_genai(name) or name for name, _ in asked]
    # guard: each provider is asked for once in a session
    if any(one in known[:place] for place, one in enumerate(known)):
        return "expected each provider once"
    return next((why for name, options in asked if (why := _provider(name, options))), "")


def _provider(name: str, options: object) -> str:
    known = named_in_genai(name)
    if known is None:
        return f"{shown(name)}: not a provider whose models may be served{_because(name)}"
    if not isinstance(options, dict):
        return f"{name}: expected an object of options"
    return next((why for one in options.items() if (why := _option(name, known.genai_options, *one))), "")


def _option(provider: str, known: Mapping[str, str], name: str, value: object) -> str:
    if name not in known:
        return f"{provider}.{shown(name)}: not on the list of options that may be served{_because(provider, name)}"
    # guard: an option of a provider has a value that is known
    if not (_is_word(value) and re.fullmatch(known[name], str(value))):
        return f"{provider}.{name}: unexpected value {_short(value)}"
    return ""


def _because(*names: str) -> str:
    why = _WHY_NOT.get(".".join(names).lower())
    return f", because {why}" if why else ""


def _each(check: Check, *names: str) -> dict[str, Any]:
    return dict.fromkeys(names, check)


PIPELINE = "decoder-pipeline"  # the type of a model of several graphs
_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
_SESSION: dict[str, Any] = {
    "log_id": _is_word,
    "graph_optimization_level": lambda value: value in _LEVELS,  # of Olive's recipes for NPUs
    **_each(_is_whole, "log_severity_level", "intra_op_num_threads", "inter_op_num_threads"),
    **_each(_is_flag, "enable_cpu_mem_arena", "enable_mem_pattern"),
    "provider_options": _provider_options,
    # Entries of the session that the builder of 0.18.0 writes for CUDA: they choose kernels and passes by their names.
    **_each(
        _is_word,
        *("ep.cuda.fpa_intb_gemm", "optimization.disable_specified_optimizers"),
        "session.use_device_allocator_for_initializers",
    ),
}
_SIZES = ("head_size", "hidden_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads")

# Of what hears: a graph of its own, before the one that writes.
_ENCODER: dict[str, Any] = {
    "filename": _is_file_name,
    **_each(_is_whole, *_SIZES),
    "inputs": _each(_is_word, "audio_features"),
    "outputs": _each(_is_word, *("encoder_hidden_states", "cross_present_key_names", "cross_present_value_names")),
    "session_options": _SESSION,
}

# One of several graphs: QNN's and VitisAI's tools split a decoder so. `run_options` may name files (qnn.lora_config).
_STAGE: dict[str, Any] = {
    "filename": _is_file_name,
    **_each(_list_of(_is_word), "inputs", "outputs"),
    **_each(_is_flag, "run_on_prompt", "run_on_token_gen", "is_lm_head", "inherit_session_options"),
    "reset_session_idx": _is_whole,
    "output_names_forwarder": lambda value: isinstance(value, dict) and all(map(_is_word, value.values())),
    "session_options": _SESSION,
}


def _pipeline(value: object) -> str:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return "expected a list of graphs, each by its name"
    stages = [stage for one in value for stage in one.items()]
    # guard: each graph of a pipeline has its own settings
    if len({name for name, _ in stages}) != len(stages):
        return "expected each graph once"
    for name, stage in stages:
        _check(stage, _STAGE, f"model.decoder.pipeline.{shown(name)}")
    return ""


_DECODER: dict[str, Any] = {
    "filename": _is_file_name,
    "pipeline": _pipeline,
    **_each(_is_whole, *_SIZES),
    "conv_cache_size": _is_whole,
    "layer_types": _list_of(_is_word),
    "inputs": _each(
        _is_word,
        *("input_ids", "inputs_embeds", "attention_mask", "position_ids"),
        *("past_key_names", "past_value_names", "past_conv_names", "past_recurrent_names"),
        *("cross_past_key_names", "cross_past_value_names", "past_sequence_length", "total_sequence_length"),
    ),
    "outputs": _each(
        _is_word,
        *("logits", "hidden_states"),
        *("present_key_names", "present_value_names", "present_conv_names", "present_recurrent_names"),
    ),
    "session_options": _SESSION,
    "sliding_window": {
        **_each(_is_whole, "window_size", "pad_value", "cache_slack"),
        "alignment": _is_word,
        **_each(_is_flag, "slide_key_value_cache", "slide_inputs"),
        "layers": _list_of(_is_whole),
    },
}

_ALLOWED: dict[str, Any] = {
    "model": {
        "type": _is_word,
        **_each(_is_whole, "bos_token_id", "pad_token_id", "image_token_id", "vocab_size", "context_length"),
        "eos_token_id": _is_token,
        **_each(_is_whole, "bot_token_id", "eot_token_id", "bor_token_id", "eor_token_id"),  # of calls and reasoning
        "decoder": _DECODER,
        "encoder": _ENCODER,
        "speech": {"config_filename": lambda value: value == AUDIO_PROCESSOR},
    },
    "search": {
        **_each(_is_flag, "do_sample", "early_stopping", "past_present_share_buffer"),
        **_each(_is_whole, "max_length", "min_length", "no_repeat_ngram_size", "num_beams", "num_return_sequences"),
        **_each(_is_whole, "random_seed", "top_k"),
        **_each(_is_number, "diversity_penalty", "length_penalty", "repetition_penalty", "temperature", "top_p"),
    },
}


def genai_config(text: bytes, generation: Generation, provider: str = DEFAULT_PROVIDER.name) -> dict[str, Any]:
    """The artifact's configuration with the manifest's generation defaults in it. `provider` is what the release is
    for, and the only one that the configuration may ask for."""
    try:
        config: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(f"genai_config.json is not JSON: {error}") from None
    check(config)
    if provider_of(config).name != provider:  # guard: no other provider is served than the release is for
        place = "model.decoder.session_options.provider_options"
        raise _refused(f"genai_config.json: {place}: {provider_of(config).name}, and the release is for {provider}")
    context = context_length(config)
    if generation.max_length is not None and generation.max_length > context:
        raise PermanentError(
            f"generation.maxLength is {generation.max_length}, but the model holds only {context} tokens",
            code="MaxLengthTooLarge",
            hint=f"set spec.generation.maxLength to {context} or less",
        )
    search = config.setdefault("search", {})
    if _samples(generation) and {**search, **GREEDY} == search:
        search |= {"do_sample": True, "top_k": SAMPLING["top_k"]}  # the source is greedy, and the manifest is not
    search.update(_search(generation))
    for _, stage in stages_of(config):
        # Else a graph with settings of its own is not profiled, and the load gate sees nothing of it.
        stage["inherit_session_options"] = True
    return dict(config)


def check(config: object) -> None:
    """Raises PermanentError for a key or a value that must not reach the runtime."""
    _check(config, _ALLOWED, "")
    if isinstance(config, dict):
        _check_parts(config.get("model", {}))
        _check_stages(config)
        beams = config.get("search", {}).get("num_beams", 1)
        if hears(config) and beams > 1:  # guard: what hears follows one beam
            raise _refused(f"genai_config.json: search.num_beams: got {beams}, and with more than 1 nothing is heard")


def hears(config: dict[str, Any]) -> bool:
    return bool(config.get("model", {}).get("type") == WHISPER)


def _check_parts(model: dict[str, Any]) -> None:
    """What hears has an encoder, and nothing else has. It runs where the decoder does."""
    parts = [name for name in ("encoder", "speech") if name in model]
    # guard: what a graph for chat is given beside it is refused
    if parts and model.get("type") != WHISPER:
        raise _refused(f"genai_config.json: model.{parts[0]}: only models of type {WHISPER} may have it")
    for name in ("encoder", "decoder"):
        options = model.get(name, {}).get("session_options", {}).get("provider_options", [])
        if model.get("type") == WHISPER and options:  # guard: what hears runs on the CPU
            place = f"model.{name}.session_options.provider_options"
            raise _refused(
                f"genai_config.json: {place}: a model that hears is served on the CPU only, so expected none"
            )


def _check_stages(config: dict[str, Any]) -> None:
    """Several graphs are for one provider, or some for the CPU: what another one computed would be told of the first.
    The runtime takes them for a model of their own type only."""
    stages, model = stages_of(config), config.get("model", {})
    place = "genai_config.json: model.decoder.pipeline"
    if bool(stages) != (model.get("type") == PIPELINE) or (stages and "filename" in model["decoder"]):
        raise _refused(f"{place}: expected of a model of type {PIPELINE}, without a filename, and of no other")
    base = bool(stages) and bool(model["decoder"].get("session_options", {}).get("provider_options"))
    apart = (stage for _, stage in stages if "session_options" in stage and not stage.get("inherit_session_options"))
    # guard: a graph that is apart from its decoder's provider is not moved to it
    if base and next(apart, None) is not None:
        raise _refused(f"{place}: expected a provider of the decoder, or session_options of each graph, got both")
    asked = {known.name: known for name, _ in asked_of(config) if (known := named_in_genai(name)) is not None}
    # guard: the graphs of a pipeline are for one provider
    if stages and (len(asked) > 1 or any(one.contexts == OPENVINO_IR for one in asked.values())):
        raise _refused(f"{place}: expected one provider, and not OpenVINO, got {', '.join(sorted(asked))}")


def context_length(config: dict[str, Any]) -> int:
    length = config.get("model", {}).get("context_length")
    if not _is_whole(length) or length < 1:
        raise _refused(f"genai_config.json: model.context_length: expected a whole number, got {length!r}")
    return int(length)


def _samples(generation: Generation) -> bool:
    """Does it ask for more than the likeliest token?"""
    return bool(generation.top_p if generation.temperature is None else generation.temperature)


def _search(generation: Generation) -> dict[str, Any]:
    search = {name: value for name, value in as_dict(generation).items() if value is not None}
    if "temperature" in search or "top_k" in search:
        # Foundry Local 2.2.1 ignores do_sample (temperature 0 or top_k 1 make it greedy); other runtimes obey it.
        search["do_sample"] = search.get("temperature", 1) > 0 and search.get("top_k") != 1
    return search


def _check(value: object, allowed: dict[str, Any] | Check, path: str) -> None:
    if callable(allowed):
        found = allowed(value)
        if found not in (True, ""):
            raise _refused(f"genai_config.json: {path}: {found or f'unexpected value {_short(value)}'}")
        return
    if not isinstance(value, dict):
        raise _refused(f"genai_config.json: {path or 'the file'}: expected an object, got {_short(value)}")
    for key, inner in value.items():
        where = f"{path}.{key}" if path else key
        if key not in allowed:  # guard: keys of genai_config.json by allow-list
            message = f"{where[:200]}: not on the list of keys that may be served{_because(where)}"
            raise _refused(f"genai_config.json: {message}")
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
