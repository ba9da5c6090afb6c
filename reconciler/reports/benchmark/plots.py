"""The plots of a benchmark's page. Each is a drawing, what it shows in words, and the same numbers as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.domain.text.escape import for_terminal
from reconciler.reports.benchmark.drawing import Axes, drawn, series

View = Mapping[str, Any]
Numbered = Sequence[tuple[int, View]]  # a precision keeps its place, and so its colour and shape, in every plot

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """`drawing` is what is inside an SVG element; all else is text, not yet escaped. Without a drawing `words` say why
    there is none. `name` begins the ids in the page."""

    name: str
    title: str
    words: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    drawing: str = ""
    description: str = ""


def plots(name: str, variants: Sequence[View]) -> tuple[Plot, ...]:
    """Of one model. `name` begins the ids in the page."""
    return (
        size_against_fidelity(f"{name}-size", variants),
        by_length(f"{name}-speed", variants, RATE),
        by_length(f"{name}-first", variants, FIRST_TOKEN),
        memory_over_time(f"{name}-memory", variants),
    )


def size_against_fidelity(name: str, variants: Sequence[View]) -> Plot:
    title, headings = "Size against fidelity", ("precision", "size", "agreement", "mean KL")
    known = [(place, one) for place, one in enumerate(variants) if one["fidelity"]]
    if not known:
        words = "None of them was ever compared with its source: reconciler bench --measure does."
        return Plot(name=name, title=title, words=words, headings=headings)
    unit, factor = _unit(max(one["sizeBytes"] for _, one in known))
    rows = tuple(_fidelity_row(one, unit, factor) for _, one in known)

    def draw(axes: Axes) -> None:
        for place, one in known:
            at = one["sizeBytes"] / factor, one["fidelity"]["top1Agreement"] * 100
            axes.plot(*at, label=_label(one), **series(place) | {"linestyle": "none"})
        axes.update_datalim([(0, 98), (0, 100)])

    return Plot(
        name=name,
        title=title,
        words="How often the most likely next token is the source's, over fixed texts. Up and to the left is better.",
        headings=headings,
        rows=rows,
        drawing=drawn(name, f"size on disk ({unit})", "top-1 agreement with the source (%)", draw),
        description="; ".join(f"{who}: {size}, {share.replace('%', ' %')}" for who, size, share, _ in rows),
    )


def _fidelity_row(one: View, unit: str, factor: int) -> tuple[str, ...]:
    fidelity = one["fidelity"]
    size = f"{one['sizeBytes'] / factor:.2f} {unit}"
    return one["precision"], size, f"{fidelity['top1Agreement']:.1%}", f"{fidelity['meanKl']:.2g}"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Something that was measured at each prompt length."""

    key: str
    title: str
    axis: str
    words: str
    factor: float = 1.0
    unit: str = ""


RATE = Measure(
    key="tokensPerSecond",
    title="Speed by prompt length",
    axis="tokens a second",
    words="How fast the answer comes once it has begun. Higher is better; bars show the runs' extremes.",
)
FIRST_TOKEN = Measure(
    key="firstTokenSeconds",
    title="Time to the first token",
    axis="milliseconds until the first token",
    words="How long the prompt takes. Lower is better; bars show the runs' extremes.",
    factor=1000.0,
    unit=" ms",
)


def by_length(name: str, variants: Sequence[View], measure: Measure) -> Plot:
    timed = [(place, one) for place, one in enumerate(variants) if one["speeds"]]
    lengths = sorted({speed["promptTokens"] for _, one in timed for speed in one["speeds"]})
    headings = ("precision", *(f"{length} tokens" for length in lengths))
    if not timed:
        return Plot(name=name, title=measure.title, words="Nothing was timed.", headings=headings)
    rows = tuple(_length_row(one, lengths, measure) for _, one in timed)
    medians = "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in rows)
    return Plot(
        name=name,
        title=measure.title,
        words=measure.words,
        headings=headings,
        rows=rows,
        drawing=drawn(name, "prompt length (tokens)", measure.axis, lambda axes: _draw_lengths(axes, timed, measure)),
        description=f"{measure.axis}, at prompts of {', '.join(map(str, lengths))} tokens. {medians}",
    )


def _draw_lengths(axes: Axes, timed: Numbered, measure: Measure) -> None:
    lengths = sorted({speed["promptTokens"] for _, one in timed for speed in one["speeds"]})
    axes.set_xscale("log", base=2)  # prompt lengths double rather than grow
    axes.update_datalim([(lengths[0], 0)])
    for place, one in timed:
        look = series(place)
        beside = 1.012 ** (place - 1.5)  # so that the bars of several can be seen
        at = [speed["promptTokens"] * beside for speed in one["speeds"]]
        median, low, high = (
            [speed[measure.key][which] * measure.factor for speed in one["speeds"]]
            for which in ("median", "low", "high")
        )
        axes.vlines(at, low, high, color=look["color"], linewidth=1.6, alpha=0.55)
        axes.plot(at, median, label=_label(one), **look)
    axes.minorticks_off()
    axes.set_xticks(lengths)


def _length_row(one: View, lengths: Sequence[int], measure: Measure) -> tuple[str, ...]:
    held = {speed["promptTokens"]: speed[measure.key]["median"] * measure.factor for speed in one["speeds"]}
    cells = (f"{_short(held[length])}{measure.unit}" if length in held else "-" for length in lengths)
    return one["precision"], *cells


def memory_over_time(name: str, variants: Sequence[View]) -> Plot:
    title, headings = "Memory over time", ("precision", "model loaded", "at that time", "highest")
    seen = [(place, one) for place, one in enumerate(variants) if one["memory"] and one["memory"]["samples"]]
    if not seen:
        words = "This platform does not tell what memory a process holds."
        return Plot(name=name, title=title, words=words, headings=headings)
    unit, factor = _unit(max(size for _, one in seen for _, size in one["memory"]["samples"]))
    rows = tuple(_memory_row(one, unit, factor) for _, one in seen)

    def draw(axes: Axes) -> None:
        for place, one in seen:
            samples, loaded = _with_load(one["memory"])
            seconds, sizes = [after for after, _ in samples], [size / factor for _, size in samples]
            axes.plot(seconds, sizes, label=_label(one), markevery=[loaded], **series(place))
        axes.update_datalim([(0, 0)])

    return Plot(
        name=name,
        title=title,
        words="The first run: start, load (marked when it had answered), golden prompts, prompts of each length.",
        headings=headings,
        rows=rows,
        drawing=drawn(name, "seconds since the process began", f"resident memory ({unit})", draw),
        description="; ".join(
            f"{who}: loaded after {after}, holding {held}, at most {most}" for who, after, held, most in rows
        ),
    )


def _memory_row(one: View, unit: str, factor: int) -> tuple[str, ...]:
    samples, loaded = _with_load(one["memory"])
    top = max(size for _, size in samples)
    sizes = (f"{size / factor:.1f} {unit}" for size in (samples[loaded][1], top))
    return one["precision"], f"{one['memory']['loadedAt']:.2f} s", *sizes


def _with_load(memory: View) -> tuple[list[tuple[float, float]], int]:
    """The samples with one for when the model had answered first, which holds what the last before it does; and its
    place."""
    samples = [(seconds, size) for seconds, size in memory["samples"]]
    before = sum(seconds <= memory["loadedAt"] for seconds, _ in samples)
    samples.insert(before, (memory["loadedAt"], samples[max(before - 1, 0)][1]))
    return samples, before


def _label(one: View) -> str:
    return for_terminal(one["precision"])  # SVG cannot hold control characters


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _unit(size: float) -> tuple[str, int]:
    """The largest of which there is at least one."""
    return next(((unit, f) for unit, f in reversed(UNITS.items()) if size >= f), ("KiB", UNITS["KiB"]))
