"""Logits as logarithms of probabilities, and what a reference answer keeps of them. For worker processes only."""

from typing import Any

from reconciler.domain.reference import FLOOR

EXACT = 1e-6  # a probability


def log_softmax(logits: Any) -> Any:
    """In double precision."""
    import numpy

    wide = logits.astype(numpy.float64)
    wide -= wide.max(-1, keepdims=True)
    wide -= numpy.log(numpy.exp(wide).sum(-1, keepdims=True))
    return wide


def kept(row: Any, tokens: Any) -> Any:
    """Of one row of log_softmax: that of these tokens, and as the last one that of all others together."""
    import numpy

    found = row[numpy.asarray(tokens)]
    rest = 1.0 - numpy.exp(found).sum()
    if not rest > EXACT:  # too little is left of the difference: add up the others
        rest = numpy.exp(numpy.delete(row, tokens)).sum()
    return numpy.append(found, numpy.log(numpy.maximum(rest, 1e-300))).clip(FLOOR, 0)


def divergence(before: Any, after: Any) -> float:
    """KL of what was `kept` in two places, in nats. What was rounded is made to be probabilities again, so that its
    rounding counts by its square."""
    import numpy

    p, q = (held - numpy.log(numpy.exp(held).sum()) for held in (numpy.asarray(before), numpy.asarray(after)))
    return float((numpy.exp(p) * (p - q)).sum())
