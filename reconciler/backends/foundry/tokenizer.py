"""Loads the tokenizer of the runtime that serves, without a model; and the source's, with Hugging Face's `tokenizers`,
to compare the two. For the runtime's worker process only.
"""

import ctypes
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

from reconciler.backends.foundry.native import Native
from reconciler.domain.errors import PermanentError
from reconciler.gates.tokenizer import compare


class RuntimeTokenizer:
    """Of a served folder. Raises PermanentError in the runtime's own words."""

    special: frozenset[int] = frozenset()

    def __init__(self, folder: str) -> None:
        self._native = Native("TokenizerUnloadable")
        self._tokenizer = self._native.made("OgaCreateTokenizerFromPath", os.fsencode(folder))

    def encode(self, text: str) -> list[int]:
        sequences = self._native.made("OgaCreateSequences")
        try:
            self._native.call("OgaTokenizerEncode", self._tokenizer, text.encode(), sequences)
            count = self._native.plain("OgaSequencesGetSequenceCount")(sequences, 0)
            return list(self._native.plain("OgaSequencesGetSequenceData")(sequences, 0)[:count])
        finally:
            self._native.plain("OgaDestroySequences")(sequences)

    def decode(self, ids: Sequence[int]) -> str:
        """Token by token, as an answer comes."""
        stream, piece, pieces = self._native.made("OgaCreateTokenizerStream", self._tokenizer), ctypes.c_char_p(), []
        try:
            for one in ids:
                self._native.call("OgaTokenizerStreamDecode", stream, one, ctypes.byref(piece))
                pieces.append(piece.value or b"")
        finally:
            self._native.plain("OgaDestroyTokenizerStream")(stream)
        return b"".join(pieces).decode(errors="replace")

    def prompt(self) -> str:
        """What the served template makes of a conversation; "" where it refuses this one."""
        asked = json.dumps([{"role": "user", "content": "a"}]).encode()
        try:
            made = self._native.made("OgaTokenizerApplyChatTemplate", self._tokenizer, None, asked, None, True)
        except PermanentError:
            return ""
        try:
            return (ctypes.cast(made, ctypes.c_char_p).value or b"").decode(errors="replace")
        finally:
            self._native.plain("OgaDestroyString")(made)

    def close(self) -> None:
        self._native.plain("OgaDestroyTokenizer")(self._tokenizer)


class SourceTokenizer:
    """By Hugging Face's library. `own` are the tokens that were added to the vocabulary, odd ones first."""

    def __init__(self, folder: str) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        added = self._tokenizer.get_added_tokens_decoder().items()
        self.special = frozenset(number for number, token in added if token.special)
        odd = [(_is_plain(token), number, token.content) for number, token in added]
        self.own = [content for _, _, content in sorted(odd)]
        self._added = {number: token.content for number, token in added}

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def first(self, prompt: str) -> str:
        """The token of its own that a prompt begins with, if it does."""
        return self._added.get(next(iter(self.encode(prompt)), -1), "")

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids)))


def compared_in(folder: str) -> dict[str, Any]:
    """The fields of `measured.Tokenized`, of a served folder."""
    source, served = SourceTokenizer(folder), RuntimeTokenizer(folder)
    try:
        first = source.first(served.prompt())
        return vars(compare(source, served, source.own, _vocabulary(folder), first))
    finally:
        served.close()


def content_of(folder: str) -> str:
    """Two folders with the same are compared alike."""
    parts = [f"{_vocabulary(folder)}"]
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        path = os.path.join(folder, name)
        if os.path.exists(path):  # a model for embeddings has no template
            with open(path, "rb") as file:
                parts.append(hashlib.file_digest(file, "sha256").hexdigest())
    return " ".join(parts)


def _vocabulary(folder: str) -> int:
    """How many ids the model knows."""
    with open(os.path.join(folder, "genai_config.json"), encoding="utf-8") as file:
        return int(json.load(file)["model"]["vocab_size"])


def _is_plain(token: Any) -> bool:
    return token.special and not (token.lstrip or token.rstrip or token.single_word or token.normalized)
