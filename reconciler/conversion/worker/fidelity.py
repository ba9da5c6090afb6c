"""How near is a converted model to its source? Both read the same texts, and their logits are compared at every token.

There are two comparisons. First with the source as it is: what the conversion costs, rounding included. Then the source
is given the artifact's rounded weights, and the artifact computes without approximate sums: both use the same numbers,
so what still differs comes from a wrong conversion. Random or small models lose much by rounding, and only the second
comparison separates them from broken ones. To save memory the source runs one layer at a time, and the artifact after
it. What both find at some places of the first comparison is recorded for machines that have no source.

The processor computes both, also an artifact that is made for a GPU: its own graph, its own weights, without the
provider. What that provider makes of it is for the load gate (docs/decisions/0050-conversion-for-gpus.md).
"""

import json
import os
from collections.abc import Callable
from typing import Any

from reconciler.conversion.order import Order
from reconciler.conversion.worker.artifact_graph import float_type, graph_name
from reconciler.conversion.worker.artifact_logits import SPARE, artifact_logits
from reconciler.conversion.worker.divergence import Divergence
from reconciler.conversion.worker.read_back import rounded_matrices
from reconciler.conversion.worker.reference import ReferenceWriter
from reconciler.conversion.worker.streamed import StreamedSource
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.measured import TEXTS, TEXTS_DIGEST
from reconciler.domain.plain_data import as_dict
from reconciler.domain.targets.precisions import TABLE

LONGEST = 1024  # tokens of one row
# How many places are compared: as many as these allow, but some in any case.
WORK = 1 << 34  # places times weights
LOGITS = 1 << 25  # numbers
LEAST = 48
MOST = 512  # of the texts: only models of less than 33 million weights are allowed more, and nothing new shows there
BEYOND = 64  # places that are read where a stretched rotation begins


def compare(order: Order) -> dict[str, Any]:
    """The fields of `measured.Fidelity`, and the `reference` answers."""
    assert order.compared is not None
    artifact, precision = order.compared, TABLE[order.recipe.precision]
    source = StreamedSource(order, rounded_matrices(artifact) if precision.rounded else None)
    floats = _floats(artifact) if precision.rounded else precision.floats
    rows = _rows(artifact, max(LEAST, min(WORK // source.weights, LOGITS // source.vocabulary)), source.whole)
    served_by, *exact_by = _source_logits(source, rows, "as it is")
    answers = ReferenceWriter(order.recipe.build_key, rows[0], source.whole)
    served = _divergence(
        served_by, artifact, rows, source.whole, exact=floats == "bf16", rounded=precision.rounded, look=answers.add
    )
    del served_by
    if floats in ("fp16", "bf16"):
        del exact_by
        source.narrow(floats)
        exact_by = _source_logits(source, rows, "with half as many digits")
    wiring = None
    if exact_by:
        wiring = _divergence(exact_by[-1], artifact, rows, source.whole, exact=True, rounded=precision.rounded)
    source.check_unchanged()
    return {
        "build_key": order.recipe.build_key,
        "prompts": TEXTS_DIGEST,
        "positions": sum(map(len, rows)),
        "top1_agreement": served.top1_agreement,
        "mean_kl": served.mean_kl,
        "perplexity_ratio": served.perplexity_ratio,
        "wiring_kl": wiring.mean_kl if wiring else None,
        "rounding_distance": source.furthest if precision.rounded else None,
        "reference": (found := answers.reference()) and as_dict(found),
    }


def _floats(artifact: str) -> str:
    """The type of what is not rounded: that of a ready one is known by its graph alone."""
    import onnx

    return float_type(onnx.load(os.path.join(artifact, graph_name(artifact)), load_external_data=False).graph)


def _source_logits(source: StreamedSource, rows: list[list[int]], what: str) -> list[Any]:
    _say(f"the source, layer by layer: {sum(map(len, rows))} tokens, {what}")
    return source.logits(rows)


def _divergence(
    expected: Any,
    artifact: str,
    rows: list[list[int]],
    whole: int,
    *,
    exact: bool,
    rounded: bool,
    look: Callable[[int, Any, Any], None] = lambda place, expected, found: None,
) -> Divergence:
    """Rounded weights are small; sorted in memory they are read four times as fast."""
    import numpy

    _say("the result, " + ("with the same weights and exact sums" if exact else "as it is"))
    following = numpy.array([[*row[1:], -1] for row in rows]).reshape(-1)
    found = artifact_logits(artifact, rows, whole, exact=exact, mapped=not rounded)
    return Divergence(expected, found, following, look)


def _say(what: str) -> None:
    """`running.Progress` reads it."""
    print(f"Comparing {what}", flush=True)


def _rows(artifact: str, places: int, whole: int) -> list[list[int]]:
    """The beginnings of all texts one after the other, `places` tokens together; in rows of equal length where that is
    more than the context. Where a stretched rotation begins further on (`whole`), and `places` allows it, one row that
    goes on beyond that, with the texts again."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.path.join(artifact, "tokenizer.json"))
    with open(os.path.join(artifact, "genai_config.json"), encoding="utf-8") as file:
        context = int(json.load(file)["model"]["context_length"])
    each = -(-min(places, MOST) // len(TEXTS))
    texts = [tokenizer.encode(text, add_special_tokens=False).ids[:each] for text in TEXTS]
    tokens = [token for text in texts for token in text]
    beyond = whole + BEYOND if whole > 1 and tokens else 0
    if min(LONGEST, len(tokens)) < beyond <= min(places, context - SPARE):
        return [(tokens * -(-beyond // len(tokens)))[:beyond]]
    count = -(-len(tokens) // min(LONGEST, context - SPARE))
    length = len(tokens) // count if count else 0
    if length < 2:
        raise ConversionFailed("the tokenizer makes nothing of any text")
    return [tokens[begin : begin + length] for begin in range(0, count * length, length)]
