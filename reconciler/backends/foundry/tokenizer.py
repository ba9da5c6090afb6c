"""Loads the tokenizer of the runtime that serves, without a model, through the C API of the onnxruntime-genai that
ships with Foundry Local; and the source's, with Hugging Face's `tokenizers`, to compare the two. For the runtime's
worker process only: a crash in the native code ends the process.
"""

import ctypes
import hashlib
import json
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from reconciler.domain.errors import PermanentError
from reconciler.gates.tokenizer import compare

_Pointer = ctypes.c_void_p
_Ids = ctypes.POINTER(ctypes.c_int32)
_Out = ctypes.POINTER(_Pointer)
_FUNCTIONS: dict[str, tuple[list[Any], Any]] = {
    "OgaCreateTokenizerFromPath": ([ctypes.c_char_p, _Out], _Pointer),
    "OgaDestroyTokenizer": ([_Pointer], None),
    "OgaCreateSequences": ([_Out], _Pointer),
    "OgaDestroySequences": ([_Pointer], None),
    "OgaTokenizerEncode": ([_Pointer, ctypes.c_char_p, _Pointer], _Pointer),
    "OgaSequencesGetSequenceCount": ([_Pointer, ctypes.c_size_t], ctypes.c_size_t),
    "OgaSequencesGetSequenceData": ([_Pointer, ctypes.c_size_t], _Ids),
    "OgaCreateTokenizerStream": ([_Pointer, _Out], _Pointer),
    "OgaDestroyTokenizerStream": ([_Pointer], None),
    "OgaTokenizerStreamDecode": ([_Pointer, ctypes.c_int32, ctypes.POINTER(ctypes.c_char_p)], _Pointer),
    "OgaTokenizerApplyChatTemplate": ([_Pointer, *[ctypes.c_char_p] * 3, ctypes.c_bool, _Out], _Pointer),
    "OgaDestroyString": ([_Pointer], None),
    "OgaResultGetError": ([_Pointer], ctypes.c_char_p),
    "OgaDestroyResult": ([_Pointer], None),
}


class RuntimeTokenizer:
    """Of a served folder. Raises PermanentError in the runtime's own words."""

    special: frozenset[int] = frozenset()

    def __init__(self, folder: str) -> None:
        self._library = _library()
        self._tokenizer = self._made("OgaCreateTokenizerFromPath", os.fsencode(folder))

    def encode(self, text: str) -> list[int]:
        sequences = self._made("OgaCreateSequences")
        try:
            self._call("OgaTokenizerEncode", self._tokenizer, text.encode(), sequences)
            count = self._library.OgaSequencesGetSequenceCount(sequences, 0)
            return list(self._library.OgaSequencesGetSequenceData(sequences, 0)[:count])
        finally:
            self._library.OgaDestroySequences(sequences)

    def decode(self, ids: Sequence[int]) -> str:
        """Token by token, as an answer comes."""
        stream, piece, pieces = self._made("OgaCreateTokenizerStream", self._tokenizer), ctypes.c_char_p(), []
        try:
            for one in ids:
                self._call("OgaTokenizerStreamDecode", stream, one, ctypes.byref(piece))
                pieces.append(piece.value or b"")
        finally:
            self._library.OgaDestroyTokenizerStream(stream)
        return b"".join(pieces).decode(errors="replace")

    def prompt(self) -> str:
        """What the served template makes of a conversation; "" where it refuses this one."""
        asked = json.dumps([{"role": "user", "content": "a"}]).encode()
        try:
            made = self._made("OgaTokenizerApplyChatTemplate", self._tokenizer, None, asked, None, True)
        except PermanentError:
            return ""
        try:
            return (ctypes.cast(made, ctypes.c_char_p).value or b"").decode(errors="replace")
        finally:
            self._library.OgaDestroyString(made)

    def close(self) -> None:
        self._library.OgaDestroyTokenizer(self._tokenizer)

    def _made(self, function: str, *arguments: Any) -> Any:
        made = _Pointer()
        self._call(function, *arguments, ctypes.byref(made))
        return made

    def _call(self, function: str, *arguments: Any) -> None:
        failed = getattr(self._library, function)(*arguments)
        if failed:
            message = self._library.OgaResultGetError(failed).decode(errors="replace")
            self._library.OgaDestroyResult(failed)
            raise PermanentError(message, code="TokenizerUnloadable")


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
        with open(os.path.join(folder, name), "rb") as file:
            parts.append(hashlib.file_digest(file, "sha256").hexdigest())
    return " ".join(parts)


def _vocabulary(folder: str) -> int:
    """How many ids the model knows."""
    with open(os.path.join(folder, "genai_config.json"), encoding="utf-8") as file:
        return int(json.load(file)["model"]["vocab_size"])


def _is_plain(token: Any) -> bool:
    return token.special and not (token.lstrip or token.rstrip or token.single_word or token.normalized)


@cache
def _library() -> Any:
    """Loaded by the SDK, with what it needs."""
    from importlib.resources import files

    from foundry_local_sdk import ModelInfoBuilder

    ModelInfoBuilder().close()
    (path,) = (one for one in (files("onnxruntime_genai_core") / "bin").iterdir() if "onnxruntime-genai" in one.name)
    library = ctypes.CDLL(str(path))
    for name, (arguments, result) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library
