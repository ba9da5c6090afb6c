"""A benchmark as tables, one for each model with a column for each precision: for a terminal, and in Markdown.

Takes the JSON view (`view.py`); what others wrote is made harmless in what it gives.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.domain.text.escape import for_markdown, for_terminal
from reconciler.domain.text.units import size_text

View = Mapping[str, Any]

NOTHING = "-"


def bench_text(view: View) -> str:
    lines: list[str] = []
    for model, variants in by_model(view).items():
        headings, rows = [model, *(one["precision"] for one in variants)], table(variants)
        widths = [max(map(len, cells)) for cells in zip(headings, *rows, strict=True)]
        lines += [_aligned(cells, widths) for cells in (headings, *rows)] + [""]
    lines += [*remarks(view), *machine_lines(view)]
    return "\n".join(map(for_terminal, lines)) + "\n"


def bench_markdown(view: View) -> str:
    lines: list[str] = []
    for model, variants in by_model(view).items():
        headings = [model, *(one["precision"] for one in variants)]
        lines += [_row(headings), "|---|" + "---:|" * len(variants), *map(_row, table(variants)), ""]
    notes = [for_markdown(line) for line in (*remarks(view), *machine_lines(view))]
    return "\n".join([*lines, *(f"- {line}" for line in notes)]) + "\n"


def by_model(view: View) -> dict[str, list[View]]:
    models: dict[str, list[View]] = {}
    for one in view["variants"]:
        models.setdefault(one["model"], []).append(one)
    return models


def table(variants: Sequence[View]) -> list[list[str]]:
    """A row for each measure: its name, and what it is for each variant. Rows without any value are left out."""
    lengths = sorted({speed["promptTokens"] for one in variants for speed in one["speeds"]})
    rows: dict[str, Callable[[View], str]] = {
        "size on disk": lambda one: size_text(one["sizeBytes"]),
        "time to load": lambda one: seconds_text(one["loadSeconds"]),
        **{f"first token after {n} tokens": _at(n, "firstTokenSeconds", seconds_text) for n in lengths},
        **{f"tokens a second after {n}": _at(n, "tokensPerSecond", rate_text) for n in lengths},
        "peak memory": lambda one: memory_text(one["peakMemoryBytes"]),
        "top-1 agreement": lambda one: _fidelity(one, "top1Agreement", "{:.1%}"),
        "mean KL divergence": lambda one: _fidelity(one, "meanKl", "{:.2g}"),
        "perplexity ratio": lambda one: _fidelity(one, "perplexityRatio", "{:.3f}"),
        "golden prompts": golden_text,
        "gates": gates_text,
    }
    cells = {name: [say(one) for one in variants] for name, say in rows.items()}
    return [[name, *row] for name, row in cells.items() if {*row} != {NOTHING}]


def seconds_text(spread: Mapping[str, float] | None) -> str:
    if spread is None:
        return NOTHING
    seconds = spread["median"]
    return (f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s") + _width(spread)


def rate_text(spread: Mapping[str, float] | None) -> str:
    if spread is None:
        return NOTHING
    rate = spread["median"]
    return (f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}") + _width(spread)


def memory_text(spread: Mapping[str, float] | None) -> str:
    return NOTHING if spread is None else size_text(round(spread["median"])) + _width(spread)


def golden_text(one: View) -> str:
    asked = one["golden"]
    return f"{sum(golden['passed'] for golden in asked)} of {len(asked)}" if asked else NOTHING


def gates_text(one: View) -> str:
    if not one["gates"]:
        return NOTHING
    rejecting = sorted({verdict["gate"] for verdict in one["gates"] if verdict["rejects"]})
    return f"reject ({', '.join(rejecting)})" if rejecting else "pass"


def machine_lines(view: View) -> Iterator[str]:
    machine = view["machine"]
    memory = size_text(machine["memoryBytes"]) if machine["memoryBytes"] else "unknown memory"
    cpu = machine["cpu"] or "unknown processor"
    yield f"{machine['name']}: {cpu}, {machine['cpus']} cpus, {memory}, {machine['os']} {machine['arch']}"
    versions = ", ".join(f"{package} {version}" for package, version in machine["runtime"].items())
    yield f"{view['date']}, {runs_text(view)}{'; ' * bool(versions)}{versions}"


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


def remarks(view: View) -> Iterator[str]:
    if not view["complete"]:
        yield "interrupted: this is what was measured until then"
    if not view["recorded"]:
        yield "nothing was recorded: another reconciler is at work here, and gates do not go by these numbers"
    for one in view["variants"]:
        if one["problem"]:
            yield f"{one['variant']}: {one['problem']['code']}: {one['problem']['message']}"
        yield from (f"{one['variant']}: {note}" for note in too_long(one))
        if one["runs"] and not one["fidelity"]:
            yield f"{one['variant']}: never compared with its source; `reconciler bench --measure` does"
    for found in view["recommendations"]:
        yield f"recommended for {found['model']}: {found['variant'] or 'nothing'} ({found['reason']})"
        yield from (f"not {variant}: {why}" for variant, why in found["against"].items())
    if busy := busy_text(view):
        yield f"note: {busy}"


def too_long(one: View) -> Iterator[str]:
    context = f" ({one['contextLength']} tokens)" if one["contextLength"] else ""
    for length in one["tooLong"]:
        yield f"{length} tokens do not fit this model's context{context}, and were not timed"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([first, *others]).rstrip()


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(for_markdown, cells))} |"


def _width(spread: Mapping[str, float]) -> str:
    """Half of the distance between the extremes, in the median; not for a single run, or below a half per cent."""
    share = (spread["high"] - spread["low"]) / 2 / spread["median"] if spread["median"] else 0.0
    return f" ±{share:.0%}" if share >= 0.005 else ""


def _at(length: int, what: str, say: Callable[[Mapping[str, float] | None], str]) -> Callable[[View], str]:
    return lambda one: say(next((speed[what] for speed in one["speeds"] if speed["promptTokens"] == length), None))


def _fidelity(one: View, name: str, form: str) -> str:
    return form.format(one["fidelity"][name]) if one["fidelity"] else NOTHING
