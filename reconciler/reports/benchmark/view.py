"""The JSON view of a benchmark: what the table, the Markdown and the page are made from. Plain, camelCase."""

from collections.abc import Sequence
from typing import Any

from reconciler.domain.measured import MemorySample
from reconciler.domain.plain_data import as_dict
from reconciler.gates.benchmark import Benched, Benchmark, Run, Spread
from reconciler.gates.recommendation import recommend
from reconciler.planner.difference import camel

FORMAT_VERSION = 1
MOST_SAMPLES = 120  # of one memory curve: a plot has no more room, and peaks are kept


def bench_view(bench: Benchmark) -> dict[str, Any]:
    found = recommend(bench.variants, bench.machine.memory_bytes)
    return {
        "formatVersion": FORMAT_VERSION,
        "date": bench.date,
        "revision": bench.revision,
        "runs": bench.wanted_runs,
        "complete": bench.complete,
        "recorded": bench.recorded,
        "machine": {camel(name): held for name, held in as_dict(bench.machine).items()},
        "variants": [_variant(one) for one in bench.variants],
        "recommendations": [as_dict(one) for one in found],
    }


def _variant(one: Benched) -> dict[str, Any]:
    fidelity = one.fidelity
    code, message = one.problem or ("", "")
    return {
        "variant": one.variant,
        "model": one.model,
        "precision": one.precision,
        "served": one.served,
        "sizeBytes": one.size_bytes,
        "runs": len(one.runs),
        "loadSeconds": _spread(one.load_seconds),
        "peakMemoryBytes": _spread(one.peak_bytes),
        "speeds": [
            {
                "wantedTokens": speed.wanted_tokens,
                "promptTokens": speed.prompt_tokens,
                "firstTokenSeconds": _spread(speed.first_token_seconds),
                "tokensPerSecond": _spread(speed.tokens_per_second),
            }
            for speed in one.speeds
        ],
        "contextLength": one.context or None,
        "tooLong": list(one.too_long),
        "fidelity": {camel(k): v for k, v in as_dict(fidelity).items()} if fidelity else None,
        "golden": [as_dict(golden) for golden in one.golden],
        "gates": [as_dict(verdict) for verdict in one.verdicts],
        "memory": _memory(one.runs[0]) if one.runs else None,
        "problem": {"code": code, "message": message} if code else None,
    }


def _spread(one: Spread | None) -> dict[str, float] | None:
    return None if one is None else {name: round(held, 6) for name, held in as_dict(one).items()}


def _memory(run: Run) -> dict[str, Any]:
    """Of the first run, which alone asks the golden prompts. `samples` are pairs: seconds, bytes."""
    samples = [[round(one.seconds, 3), one.bytes] for one in thinned(run.samples)]
    return {"loadedAt": round(run.loaded_at, 3), "samples": samples}


def thinned(samples: Sequence[MemorySample], most: int = MOST_SAMPLES) -> tuple[MemorySample, ...]:
    """The highest of each stretch, so that no peak is lost; the first and the last stay."""
    if len(samples) <= most:
        return tuple(samples)
    inner = samples[1:-1]
    step = -(-len(inner) // (most - 2))
    stretches = (inner[at : at + step] for at in range(0, len(inner), step))
    return (samples[0], *(max(stretch, key=lambda one: one.bytes) for stretch in stretches), samples[-1])
