"""A `tokenizer.json` without its vocabulary, which is most of its bytes: what it adds, and whether the runtime that
serves can read it."""

import json
from collections.abc import Iterator
from typing import Any

from reconciler.domain import digest as digests
from reconciler.domain.errors import InputRefused
from reconciler.domain.sources.generation_config import end_tokens
from reconciler.domain.sources.tokenizer_file import unreadable
from reconciler.sources.folder.guarded_folder import Folder

TOKENIZER = "tokenizer.json"
LARGEST_TOKENIZER = 64 << 20
_USUAL_HEAD = 1 << 20
_RULES = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_MISFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
_HINT = "a model with this tokenizer cannot be served here; convert one whose tokenizer.json is byte-level BPE"


def check_tokenizer(folder: Folder) -> dict[str, int]:
    """The id of each added token. Raises InputRefused for what the runtime cannot load: not after hours of
    conversion."""
    try:
        head = _head(folder)
        if why := unreadable(head):
            raise InputRefused("TokenizerUnsupported", why, _HINT)
        return _added(head)
    except _MISFORMED:
        raise InputRefused("JsonInvalid", "expected the object that `tokenizers` writes") from None


def rules_of(folder: Folder) -> dict[str, str]:
    """How it reads a text before its vocabulary: a digest of each part. Nothing of one that cannot be read."""
    try:
        head = _head(folder)
    except (InputRefused, *_MISFORMED):
        return {}
    return {part: digests.of_value(head.get(part)) for part in _RULES}


def ends_among(
    added: dict[str, int], generation: dict[str, Any], config: dict[str, Any], settings: dict[str, Any]
) -> tuple[str, ...]:
    """The added tokens that end an answer, as it is served."""
    ends = {*end_tokens(config["vocab_size"], generation, config), added.get(end_of(settings))}
    return tuple(text for text, number in added.items() if number in ends)


def doubts(
    added: dict[str, int], generation: dict[str, Any], config: dict[str, Any], settings: dict[str, Any]
) -> Iterator[InputRefused]:
    """What does not fit together, and is no reason to stop."""
    last = max(added.items(), key=lambda one: one[1], default=("", -1))
    if last[1] >= config["vocab_size"]:
        message = f"{last[0][:80]!r} has the id {last[1]}, and the model knows {config['vocab_size']} ids"
        yield InputRefused("TokenizerBeyondModel", message)
    text, ends = end_of(settings), end_tokens(config["vocab_size"], generation, config)
    if added.get(text, config["vocab_size"]) < config["vocab_size"] and added[text] not in ends:
        message = f"its eos_token {text[:80]!r} ({added[text]}) is not among the eos_token_id of the model ({ends})"
        yield InputRefused("EndTokenDiffers", f"{message}: both end an answer")


def end_of(settings: dict[str, Any]) -> str:
    """The eos_token of a tokenizer_config.json; "" where it names none."""
    held = settings.get("eos_token")
    text = held.get("content") if isinstance(held, dict) else held
    return str(text) if text is not None else ""


def _added(head: dict[str, Any]) -> dict[str, int]:
    return {str(token["content"]): int(token["id"]) for token in head["added_tokens"]}


def _head(folder: Folder) -> dict[str, Any]:
    if folder.size(TOKENIZER) > LARGEST_TOKENIZER:
        raise InputRefused("FileTooLarge", f"expected at most {LARGEST_TOKENIZER} bytes")
    with folder.opened(TOKENIZER) as file:
        data = file.read(_USUAL_HEAD)
        before, found, _ = data.partition(b'"vocab":')  # never within a text: there a quote is escaped
        if found:
            try:
                return dict(json.loads(before.rstrip().removesuffix(b",") + b"}}"))
            except ValueError:  # in another order than usual
                pass
        return dict(json.loads(data + file.read(LARGEST_TOKENIZER)))
