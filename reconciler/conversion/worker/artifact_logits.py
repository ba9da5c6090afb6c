"""What the runtime makes of the artifact, piece by piece, so that neither the prompt nor the logits are in memory as a
whole, and what the runtime keeps between the pieces (the cache) is tested as well."""

import json
from collections.abc import Iterator
from typing import Any

from reconciler.conversion.worker.artifact_graph import graph_name, made_for
from reconciler.conversion.worker.exact_graph import SINGLE_SUMS, exact_graph

SINGLY = 2  # tokens; where sums are exact each piece takes all rounded weights apart anew, which costs seconds
SPARE = 4  # tokens: the runtime refuses a prompt that fills the whole context
# The weights stay in their file. They are not sorted for quick reading in memory, and half ones are widened when they
# are needed and dropped after that: the last level of optimizing would widen them all at once, the arena keep them.
_MAPPED = {
    "session.disable_prepacking": "1",
    "optimization.disable_specified_optimizers": "ConstantFolding",
    "graph_optimization_level": "ORT_ENABLE_EXTENDED",
    "enable_cpu_mem_arena": False,
    "enable_mem_pattern": False,
}


def artifact_logits(folder: str, rows: list[list[int]], whole: int, *, exact: bool, mapped: bool) -> Iterator[Any]:
    """(places, vocabulary) of each piece of each row; the first piece has `whole` places at least, if the row has.

    It is computed by the processor, whatever provider it is made for. With `exact` sums are not rounded as the accuracy
    level of the artifact allows: other sums, the same weights. With `mapped` the weights stay in their file, and are
    not copied into memory in the order that is quickest to read.
    """
    import numpy
    import onnxruntime_genai as runtime

    config = runtime.Config(folder)
    options: dict[str, Any] = {"session.intra_op.allow_spinning": "0"} | (_MAPPED if mapped else {})
    if made_for(folder):
        config.clear_providers()
        options["session.qdq_matmulnbits_accuracy_level"] = str(SINGLE_SUMS)  # no provider rounds what it multiplies
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    graph = exact_graph(folder) if exact else None
    if graph is not None:
        config.add_model_data(graph_name(folder), graph)  # it keeps no copy: `graph` must outlive the model
    model = runtime.Model(config)
    for row in rows:
        parameters = runtime.GeneratorParams(model)
        parameters.set_search_options(max_length=len(row) + SPARE, min_length=0, do_sample=False)
        generator = runtime.Generator(model, parameters)
        for piece in pieces(row, whole, singly=0 if exact else SINGLY):
            generator.append_tokens(numpy.array(piece, dtype=numpy.int32))
            yield numpy.array(generator.get_output("logits"))[0].astype(numpy.float32)
    del model, graph


def pieces(row: list[int], whole: int, *, singly: int) -> list[list[int]]:
    """A long one, a short one, and as in decoding the last `singly` tokens each alone."""
    length = len(row)
    first = max(length * 3 // 4, min(whole, length))
    ends = [first, *(end for end in range(length - singly, length + 1) if end > first)]
    return [row[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
