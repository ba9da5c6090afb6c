"""A served model read at once and token by token, in the runtime that serves: gates.decoding says how much of it. Where
reference answers came with it, the text begins with theirs, and what one reading at once finds is compared with them.
For the runtime's worker process only.

Some models give no more than the logits after the last token that they read (OpenVINO's, and graphs that are pruned
so). Then the whole text is read anew up to each of a few places, and those are compared.

Token by token goes the way of an answer: the runtime chooses each token itself (GenerateNextToken), from logits that
leave it no choice but the next token of the text. That is how it serves, with all that it does between two tokens.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.backends.foundry.generator import Generator, LoadedModel
from reconciler.backends.foundry.references import Answers
from reconciler.backends.foundry.tokenizer import RuntimeTokenizer
from reconciler.backends.logits import log_softmax
from reconciler.domain.errors import PermanentError
from reconciler.domain.measured import TEXTS, WORST, Decoded, Referenced
from reconciler.domain.reference import Reference
from reconciler.domain.sources.source_model import COMPILED, ONNX_DATA, ONNX_GRAPH
from reconciler.gates.decoding import METHOD, Stretch, stretches

LAST_PLACES = 8  # that are compared of a part, where each costs a reading of the whole


def decoded(
    folder: str, boundaries: Mapping[str, int], asked: int = 0, reference: Reference | None = None
) -> tuple[Decoded, Referenced]:
    """Of a served folder, over `asked` tokens (0: as many as the budget allows). Raises PermanentError in the runtime's
    own words."""
    with open(os.path.join(folder, "genai_config.json"), encoding="utf-8") as file:
        config = json.load(file)["model"]
    context, vocabulary = config["context_length"], config["vocab_size"]
    planned, unmeasured = stretches(_weights(folder), vocabulary, context, boundaries, asked)
    answers = Answers(reference, vocabulary, [end for one in planned for end in (*one.cuts, one.length)])
    tokens = _tokens(folder, max(one.length for one in planned), answers.tokens)
    end = next((token for token in reversed(range(vocabulary)) if token not in tokens), 0)
    with LoadedModel(folder, vocabulary, end) as model:
        parts = [part for stretch in planned for part in _parts(model, stretch, tokens, answers)]
    found = Decoded(
        method=METHOD,
        positions=sum(map(len, parts)),
        longest=max(one.length for one in planned),
        median_kl=max(map(_median, parts)),
        unmeasured=tuple(unmeasured),
        asked=asked,
    )
    return found, answers.found


def _weights(folder: str) -> int:
    """Bytes."""
    endings = (ONNX_GRAPH, *ONNX_DATA, *COMPILED)
    return sum(one.stat().st_size for one in os.scandir(folder) if one.name.endswith(endings))


def _tokens(folder: str, count: int, first: Sequence[int]) -> list[int]:
    """`first`, and those of all texts one after the other, and again. Raises PermanentError where they have none."""
    tokenizer = RuntimeTokenizer(folder)
    try:
        tokens = [token for text in TEXTS for token in tokenizer.encode(text)]
    finally:
        tokenizer.close()
    if not tokens:
        raise PermanentError("the runtime makes no token of any text", code="TokenizerUnloadable")
    return [*first, *tokens * -(-count // len(tokens))][:count]


def _median(divergences: Any) -> float:
    import numpy

    median = float(numpy.median(divergences))
    return max(0.0, median) if numpy.isfinite(median) else WORST


def _parts(model: LoadedModel, stretch: Stretch, tokens: Sequence[int], answers: Answers) -> Iterator[Any]:
    """Of each token that was read by itself: KL from what a reading of the whole finds there, in nats."""
    import numpy

    found, read = _one_by_one(model, stretch, tokens)
    begin = stretch.prompt
    for end in (*stretch.cuts, stretch.length):
        with Generator(model, end) as generator:
            generator.append(read[:end])
            whole = len(generator.outputs(end - 1)) > 0
            if whole:
                answers.look(read[:end], generator)
                p = log_softmax(generator.outputs(begin, end))  # beyond the end a window is filled up
        places = list(range(begin, end))
        if not whole:
            answers.give_up()
            places = places[:: -(-len(places) // LAST_PLACES)]
            p = log_softmax(numpy.stack([_after(model, read[: place + 1]) for place in places]))
        q = log_softmax(found[[place - stretch.prompt for place in places]])
        yield (numpy.exp(p) * (p - q)).sum(-1)
        begin = end


def _after(model: LoadedModel, text: Sequence[int]) -> Any:
    """The logits after a text that is read at once."""
    with Generator(model, len(text)) as generator:
        generator.append(text)
        return generator.logits()


def _one_by_one(model: LoadedModel, stretch: Stretch, tokens: Sequence[int]) -> tuple[Any, list[int]]:
    """What is found after each token beyond the prompt, and all tokens that were read."""
    import numpy

    found: list[Any] = []
    with Generator(model, stretch.length + 1) as generator:
        generator.append(tokens[: stretch.prompt])
        generator.choose(tokens[stretch.prompt])
        for token in (*tokens[stretch.prompt + 1 : stretch.length], tokens[0]):
            found.append(generator.logits())
            generator.choose(token)
            again = generator.outputs(0)
            if len(again) > 1:  # it has read all anew, as it does where a rotation is stretched, and chooses by that
                found[-1] = again[-1]
        return numpy.stack(found), generator.read()
