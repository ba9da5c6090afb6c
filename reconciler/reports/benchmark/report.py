"""The JSON view of a benchmark, and that view as tables for a terminal and in Markdown: one for each model, with a
column for each precision. What others wrote is made harmless in text and Markdown.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.domain.measured import LongestPrompt, MemorySample
from reconciler.domain.plain_data import as_dict, grouped
from reconciler.domain.text.escape import for_markdown
from reconciler.domain.text.units import size_text
from reconciler.gates.benchmark import Benched, Benchmark, Spread
from reconciler.gates.recommendation import recommend
from reconciler.reports.text import columns, markdown_row, terminal_lines
from reconciler.reports.view import FORMAT_VERSION, camel_view

View = Mapping[str, Any]

MOST_SAMPLES = 120  # of one memory curve: a plot has no more room, and peaks are kept
NOTHING = "-"


def bench_view(bench: Benchmark) -> dict[str, Any]:
    found = recommend(bench.variants, bench.machine.memory_bytes)
    return {
        "formatVersion": FORMAT_VERSION,
        "date": bench.date,
        "revision": bench.revision,
        "runs": bench.wanted_runs,
        "complete": bench.complete,
        "recorded": bench.recorded,
        "machine": camel_view(bench.machine),
        "variants": [_variant(one) for one in bench.variants],
        "recommendations": [as_dict(one) for one in found],
    }


def _variant(one: Benched) -> dict[str, Any]:
    """`memory` is of the first run, which alone asks the golden prompts; its samples are pairs of seconds and bytes."""
    first = one.runs[0] if one.runs else None
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
            camel_view(speed)
            | {
                "firstTokenSeconds": _spread(speed.first_token_seconds),
                "tokensPerSecond": _spread(speed.tokens_per_second),
            }
            for speed in one.speeds
        ],
        "contextLength": one.context or None,
        "longestPrompt": camel_view(one.longest) if one.longest else None,
        "tooLong": list(one.too_long),
        "fidelity": camel_view(one.fidelity) if one.fidelity else None,
        "decoding": camel_view(one.decoded) if one.decoded else None,
        "golden": [as_dict(golden) for golden in one.golden],
        "gates": [as_dict(verdict) for verdict in one.verdicts],
        "memory": first
        and {
            "loadedAt": round(first.loaded_at, 3),
            "samples": [[round(sample.seconds, 3), sample.bytes] for sample in thinned(first.samples)],
        },
        "problem": one.problem and dict(zip(("code", "message"), one.problem, strict=True)),
    }


def _spread(one: Spread | None) -> dict[str, float] | None:
    return None if one is None else {name: round(held, 6) for name, held in as_dict(one).items()}


def thinned(samples: Sequence[MemorySample], most: int = MOST_SAMPLES) -> tuple[MemorySample, ...]:
    """The highest of each stretch, so that no peak is lost; the first and the last stay."""
    if len(samples) <= most:
        return tuple(samples)
    inner = samples[1:-1]
    step = -(-len(inner) // (most - 2))
    stretches = (inner[at : at + step] for at in range(0, len(inner), step))
    return (samples[0], *(max(stretch, key=lambda one: one.bytes) for stretch in stretches), samples[-1])


def bench_text(view: View) -> str:
    tables = [[*columns(table(model, variants)), ""] for model, variants in by_model(view).items()]
    return terminal_lines([*(line for lines in tables for line in lines), *remarks(view)])


def bench_markdown(view: View) -> str:
    lines: list[str] = []
    for model, variants in by_model(view).items():
        head, *rows = map(markdown_row, table(model, variants))
        lines += [head, "|---|" + "---:|" * len(variants), *rows, ""]
    return "\n".join([*lines, *(f"- {for_markdown(line)}" for line in remarks(view))]) + "\n"


def by_model(view: View) -> dict[str, list[View]]:
    return grouped(view["variants"], lambda one: str(one["model"]))


def table(model: str, variants: Sequence[View]) -> list[list[str]]:
    """Headings, then a row for each measure: its name, and what it is for each variant. Rows without any value are left
    out."""
    lengths = sorted({speed["promptTokens"] for one in variants for speed in one["speeds"]})
    measures: dict[str, Callable[[View], str]] = {
        "size on disk": lambda one: size_text(one["sizeBytes"]),
        "time to load": lambda one: _shown(one["loadSeconds"], _seconds),
        **{f"first token after {n} tokens": _at(n, "firstTokenSeconds", _seconds) for n in lengths},
        **{f"tokens a second after {n}": _at(n, "tokensPerSecond", rate_text) for n in lengths},
        "peak memory": lambda one: _shown(one["peakMemoryBytes"], lambda held: size_text(round(held))),
        "top-1 agreement": lambda one: _fidelity(one, "top1Agreement", "{:.1%}"),
        "mean KL divergence": lambda one: _fidelity(one, "meanKl", "{:.2g}"),
        "perplexity ratio": lambda one: _fidelity(one, "perplexityRatio", "{:.3f}"),
        "decoding KL": lambda one: f"{one['decoding']['medianKl']:.2g}" if one["decoding"] else NOTHING,
        "golden prompts": _golden,
        "gates": _gates,
    }
    rows = [[name, *map(cell, variants)] for name, cell in measures.items()]
    return [[model, *(one["precision"] for one in variants)], *(row for row in rows if {*row[1:]} != {NOTHING})]


def _shown(spread: Mapping[str, float] | None, form: Callable[[float], str]) -> str:
    """The median, and half of the distance between the extremes as a share of it: not for a single run, or below a half
    per cent."""
    if spread is None:
        return NOTHING
    median = spread["median"]
    share = (spread["high"] - spread["low"]) / 2 / median if median else 0.0
    return form(median) + (f" ±{share:.0%}" if share >= 0.005 else "")


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def rate_text(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


def _at(length: int, what: str, form: Callable[[float], str]) -> Callable[[View], str]:
    return lambda one: _shown(next((s[what] for s in one["speeds"] if s["promptTokens"] == length), None), form)


def _fidelity(one: View, name: str, form: str) -> str:
    return form.format(one["fidelity"][name]) if one["fidelity"] else NOTHING


def _golden(one: View) -> str:
    asked = one["golden"]
    return f"{sum(golden['passed'] for golden in asked)} of {len(asked)}" if asked else NOTHING


def _gates(one: View) -> str:
    if not one["gates"]:
        return NOTHING
    rejecting = sorted({verdict["gate"] for verdict in one["gates"] if verdict["rejects"]})
    return f"reject ({', '.join(rejecting)})" if rejecting else "pass"


def remarks(view: View) -> Iterator[str]:
    if not view["complete"]:
        yield "interrupted: this is what was measured until then"
    if not view["recorded"]:
        yield "nothing was recorded: another reconciler is at work here, and gates do not go by these numbers"
    for one in view["variants"]:
        yield from (f"{one['variant']}: {complaint}" for complaint in complaints(one))
        if one["runs"] and not one["fidelity"]:
            yield f"{one['variant']}: never compared with its source; `reconciler bench --measure` does"
    for found in view["recommendations"]:
        yield f"recommended for {found['model']}: {found['variant'] or 'nothing'} ({found['reason']})"
        yield from (f"not {variant}: {why}" for variant, why in found["against"].items())
    if busy := busy_text(view):
        yield f"note: {busy}"
    *facts, date = machine_facts(view)
    yield f"{view['machine']['name']}: {', '.join(facts)}"
    yield f"{date}, {runs_text(view)}"


def complaints(one: View) -> Iterator[str]:
    """Why there are no numbers, or not all; and how long a prompt it answered."""
    if one["problem"]:
        yield f"{one['problem']['code']}: {one['problem']['message']}"
    context = f" ({one['contextLength']} tokens)" if one["contextLength"] else ""
    if one.get("longestPrompt"):
        yield str(LongestPrompt(**one["longestPrompt"]))
    for length in one["tooLong"]:
        yield f"{length} tokens do not fit this model's context{context}, and were not timed"


def machine_facts(view: View) -> list[str]:
    """Where it was measured, with which versions, and last when."""
    machine = view["machine"]
    memory = f"{size_text(machine['memoryBytes'])} of memory" if machine["memoryBytes"] else "unknown memory"
    versions = (f"{package} {version}" for package, version in machine["runtime"].items())
    place = (
        machine["cpu"] or "unknown processor",
        f"{machine['cpus']} cpus",
        memory,
        f"{machine['os']} {machine['arch']}",
    )
    return [*place, *versions, view["date"]]


def runs_text(view: View) -> str:
    if view["runs"] == 1:
        return "one run in a fresh process"
    return f"median of {view['runs']} runs, each a fresh process; ±: half of what lies between the extremes"


def busy_text(view: View) -> str:
    """Numbers from a busy machine are too low, and one cannot tell by how much."""
    machine = view["machine"]
    load = machine["loadAverage"]
    if load is None or load < machine["cpus"] / 2:
        return ""
    return f"others kept this machine busy (load {load:.1f} on {machine['cpus']} cpus): an idle one is faster"
