"""A served folder in the runtime that serves, by its own generator: tokens in, logits out. For the runtime's worker
process only."""

import ctypes
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from reconciler.backends.foundry.native import Native

_TYPES = {1: "float32", 10: "float16"}  # the runtime's numbers of the types of a tensor
# Threads that wait burn no CPU. All else is as the folder says.
QUIET = {"session_options": {"session.intra_op.allow_spinning": "0"}}
_SEARCH = {"min_length": 0, "num_beams": 1, "repetition_penalty": 1, "no_repeat_ngram_size": 0}
_NEVER = -1e4  # a logit


class LoadedModel(AbstractContextManager["LoadedModel"]):
    """Of a served folder. A text may hold what ends an answer, so `end` does that here: a token that is in no text.
    `decoder` is laid over the configuration's. Raises PermanentError in the runtime's own words."""

    def __init__(self, folder: str, vocabulary: int, end: int, decoder: Mapping[str, Any] = QUIET) -> None:
        self.native, self.vocabulary = Native("ModelDoesNotLoad"), vocabulary
        config = self.native.made("OgaCreateConfig", os.fsencode(folder))
        overlay = {"model": {"eos_token_id": end, "decoder": decoder}}
        try:
            self.native.call("OgaConfigOverlay", config, json.dumps(overlay).encode())
            self.made = self.native.made("OgaCreateModelFromConfig", config)
        finally:
            self.native.plain("OgaDestroyConfig")(config)

    def __exit__(self, *_: object) -> None:
        self.native.plain("OgaDestroyModel")(self.made)


class Generator(AbstractContextManager["Generator"]):
    """Greedy, of at most `length` tokens."""

    def __init__(self, model: LoadedModel, length: int) -> None:
        self._native, self._vocabulary = Native("RuntimeRefused"), model.vocabulary
        parameters = self._native.made("OgaCreateGeneratorParams", model.made)
        try:
            for name, number in {**_SEARCH, "max_length": length}.items():
                self._native.call("OgaGeneratorParamsSetSearchNumber", parameters, name.encode(), number)
            self._native.call("OgaGeneratorParamsSetSearchBool", parameters, b"do_sample", False)
            self._made = self._native.made("OgaCreateGenerator", model.made, parameters)
        finally:
            self._native.plain("OgaDestroyGeneratorParams")(parameters)

    def __exit__(self, *_: object) -> None:
        self._native.plain("OgaDestroyGenerator")(self._made)

    def append(self, tokens: Sequence[int]) -> None:
        """Read at once."""
        self._native.call("OgaGenerator_AppendTokens", self._made, (ctypes.c_int32 * len(tokens))(*tokens), len(tokens))

    def choose(self, token: int) -> None:
        """The next token of an answer, as the runtime chooses it: from logits that allow no other. Where it reads all
        again before it chooses, it takes the one that it likes best."""
        import numpy

        logits = numpy.full(self._vocabulary, _NEVER, dtype=numpy.float32)
        logits[token] = 0
        shape, float32 = (ctypes.c_int64 * 3)(1, 1, self._vocabulary), 1
        tensor = self._native.made("OgaCreateTensorFromBuffer", logits.ctypes.data, shape, 3, float32)
        try:
            self._native.call("OgaGenerator_SetLogits", self._made, tensor)
        finally:
            self._native.plain("OgaDestroyTensor")(tensor)
        self._native.call("OgaGenerator_GenerateNextToken", self._made)

    def read(self) -> list[int]:
        """All tokens so far."""
        count = self._native.plain("OgaGenerator_GetSequenceCount")(self._made, 0)
        return list(self._native.plain("OgaGenerator_GetSequenceData")(self._made, 0)[:count])

    def logits(self) -> Any:
        """(vocabulary) after the last token, which is read if it was not yet."""
        return self._taken(self._native.made("OgaGenerator_GetLogits", self._made), 0)[-1]

    def outputs(self, begin: int, end: int | None = None) -> Any:
        """(places, vocabulary) of the tokens that were read together last, from place `begin` on, up to `end`."""
        return self._taken(self._native.made("OgaGenerator_GetOutput", self._made, b"logits"), begin, end)

    def _taken(self, tensor: Any, begin: int, end: int | None = None) -> Any:
        import numpy

        kind, rank, data = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_void_p()
        try:
            self._native.call("OgaTensorGetType", tensor, ctypes.byref(kind))
            self._native.call("OgaTensorGetShapeRank", tensor, ctypes.byref(rank))
            shape = (ctypes.c_int64 * rank.value)()
            self._native.call("OgaTensorGetShape", tensor, shape, rank)
            self._native.call("OgaTensorGetData", tensor, ctypes.byref(data))
            kept = numpy.dtype(_TYPES[kind.value])
            size = kept.itemsize * int(numpy.prod(list(shape)))
            held: Any = (ctypes.c_char * size).from_address(data.value or 0)
            held = numpy.frombuffer(held, kept)
            return held.reshape(-1, self._vocabulary)[begin:end].astype(numpy.float32)
        finally:
            self._native.plain("OgaDestroyTensor")(tensor)
