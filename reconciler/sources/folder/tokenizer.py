"""A `tokenizer.json` without its vocabulary, which is most of its bytes: what it adds, and whether the runtime that
serves can read it."""

import json
from collections.abc import Iterator
from typing import Any

from reconciler.domain.errors import InputRefused
from reconciler.domain.sources.generation_config import end_tokens
from reconciler.domain.sources.tokenizer_file import unreadable
from reconciler.sources.folder.guarded_folder import Folder

TOKENIZER = "tokenizer.json"
LARGEST_TOKENIZER = 64 << 20
_USUAL_HEAD = 1 << 20
_MISFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
_HINT = "a model with this tokenizer cannot be served here; convert one whose tokenizer.json is byte-level BPE"


def special_tokens(folder: Folder) -> frozenset[str] | None:
    """The markers (`<|im_start|>`) that the tokenizer reads as one token each: `added_tokens` in tokenizer.json. None
    when they cannot be read."""
    try:
        return frozenset(_added(_head(folder)))
    except (InputRefused, OSError, *_MISFORMED):
        return None


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


def doubts(
    added: dict[str, int], generation: dict[str, Any], config: dict[str, Any], settings: dict[str, Any]
) -> Iterator[InputRefused]:
    """What does not fit together, and is no reason to stop."""
    last, end = max(added.items(), key=lambda one: one[1], default=("", -1)), settings.get("eos_token")
    if last[1] >= config["vocab_size"]:
        message = f"{last[0][:80]!r} has the id {last[1]}, and the model knows {config['vocab_size']} ids"
        yield InputRefused("TokenizerBeyondModel", message)
    text = str(end.get("content") if isinstance(end, dict) else end)
    ends = end_tokens(generation, config)
    if added.get(text, -1) >= 0 and added[text] not in ends:
        message = f"its eos_token {text[:80]!r} ({added[text]}) is not among the eos_token_id of the model ({ends})"
        yield InputRefused("EndTokenDiffers", f"{message}: both end an answer")


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
