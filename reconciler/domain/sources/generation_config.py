"""What a source's `generation_config.json` asks for. Most of it acts in the runtime that serves (`search_settings`, the
end tokens); the rest cannot, and `without_effect` says which and why. It is foreign input: a value of another type
than its own is as good as none.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Settings = Mapping[str, Any]

GREEDY = {"do_sample": False, "top_k": 1}  # Foundry Local ignores do_sample
SAMPLING = {"temperature": 1.0, "top_k": 50, "top_p": 1.0}  # transformers' own, where a source that samples is silent
_OTHER_LIMIT = "a client says how long an answer may be"
_BEAMS = "the runtime searches with one beam"
_NO_SUCH = "the runtime has no such setting"

# By name: the value that changes nothing beside null, and why another one does not act.
_WITHOUT_EFFECT: dict[str, tuple[object, str]] = {
    **dict.fromkeys(("min_new_tokens", "max_new_tokens"), (None, _OTHER_LIMIT)),
    "max_length": (20, _OTHER_LIMIT),
    **dict.fromkeys(("num_beams", "num_beam_groups"), (1, _BEAMS)),
    **dict.fromkeys(("typical_p", "encoder_repetition_penalty", "guidance_scale"), (1, _NO_SUCH)),
    **dict.fromkeys(("epsilon_cutoff", "eta_cutoff", "encoder_no_repeat_ngram_size"), (0, _NO_SUCH)),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "force_words_ids"), ([], _NO_SUCH)),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids"), (None, _NO_SUCH)),
    **dict.fromkeys(("sequence_bias", "stop_strings", "min_p", "top_h", "penalty_alpha"), (None, _NO_SUCH)),
    **dict.fromkeys(("exponential_decay_length_penalty", "watermarking_config", "dola_layers"), (None, _NO_SUCH)),
}


def search_settings(config: Settings) -> dict[str, Any]:
    """As the runtime's configuration has them. As in transformers, a source that does not ask to sample is greedy."""
    found = {name: config[name] for name, fits in _ACTING.items() if name in config and fits(config[name])}
    samples = config.get("do_sample") and config.get("temperature") != 0
    return SAMPLING | found | ({"do_sample": True} if samples else GREEDY)


def without_effect(config: Settings) -> Iterator[tuple[str, str]]:
    """Each setting that would change answers and cannot act here, with the reason."""
    for name, (usual, why) in _WITHOUT_EFFECT.items():
        if config.get(name) not in (None, usual):
            yield name, why


def end_tokens(vocabulary: int, *configs: Settings) -> list[int]:
    """The ids that end an answer, of all of them, in their order. The runtime refuses one that no answer can hold."""
    found = [config.get("eos_token_id") for config in configs]
    ids = [one for held in found for one in (held if isinstance(held, list) else [held])]
    return [*dict.fromkeys(one for one in ids if type(one) is int and 0 <= one < vocabulary)]


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


_ACTING: dict[str, Callable[[Any], bool]] = {
    "repetition_penalty": lambda value: _is_number(value) and value > 0,
    **dict.fromkeys(("no_repeat_ngram_size", "min_length"), lambda value: type(value) is int and value >= 0),
    "temperature": lambda value: _is_number(value) and value > 0,
    "top_k": lambda value: type(value) is int and value >= 0,
    "top_p": lambda value: _is_number(value) and 0 < value <= 1,
}
