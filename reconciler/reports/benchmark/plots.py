"""The plots of a benchmark's page. Each is a drawing, what it shows in words, and the same numbers as a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reconciler.domain.text.escape import for_terminal
from reconciler.reports.benchmark.drawing import Axes, drawn, series
from reconciler.reports.benchmark.report import rate_text

View = Mapping[str, Any]
Numbered = Sequence[tuple[int, View]]  # a precision keeps its place, and so its colour and shape, in every plot

UNITS = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """`drawing` is what is inside an SVG element; all else is text, not yet escaped. Without a drawing `words` say why
    there is none. `name` begins the ids in the page."""

    name: str
    title: str
    words: str
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    drawing: str = ""

    @property
    def description(self) -> str:
        """The table in words, for screen readers."""
        cells = (map(" ".join, zip(self.headings[1:], row[1:], strict=True)) for row in self.rows)
        return "; ".join(f"{row[0]}: {', '.join(named)}" for row, named in zip(self.rows, cells, strict=True))


def plots(name: str, variants: Sequence[View]) -> tuple[Plot, ...]:
    """Of one model. `name` begins the ids in the page."""
    numbered = list(enumerate(variants))
    timed = [(place, one) for place, one in numbered if one["speeds"]]
    speed = Plot(
        name=f"{name}-speed",
        title="Speed by prompt length",
        words="How fast the answer comes once it has begun. Higher is better; bars show the runs' extremes.",
    )
    first_token = Plot(
        name=f"{name}-first",
        title="Time to the first token",
        words="How long the prompt takes. Lower is better; bars show the runs' extremes.",
    )
    return (
        _size_against_fidelity(f"{name}-size", [(place, one) for place, one in numbered if one["fidelity"]]),
        _by_length(speed, timed, "tokensPerSecond", "tokens a second", 1.0, "/s"),
        _by_length(first_token, timed, "firstTokenSeconds", "milliseconds until the first token", 1000.0, " ms"),
        _memory_over_time(
            f"{name}-memory", [(place, one) for place, one in numbered if one["memory"] and one["memory"]["samples"]]
        ),
    )


def _size_against_fidelity(name: str, known: Numbered) -> Plot:
    plot = Plot(
        name=name,
        title="Size against fidelity",
        words="How often the most likely next token is the source's, over fixed texts. Up and to the left is better.",
        headings=("precision", "size", "agreement", "mean KL"),
    )
    if not known:
        return replace(plot, words="None was compared with its source yet: reconciler bench --measure does that.")
    unit, factor = _unit(one["sizeBytes"] for _, one in known)
    points = [(place, one, one["sizeBytes"] / factor, one["fidelity"]["top1Agreement"]) for place, one in known]

    def draw(axes: Axes) -> None:
        for place, one, size, agreement in points:
            axes.plot(size, agreement * 100, label=_label(one), **series(place) | {"linestyle": "none"})
        axes.update_datalim([(0, 98), (0, 100)])

    return replace(
        plot,
        rows=tuple(
            (one["precision"], f"{size:.2f} {unit}", f"{agreement:.1%}", f"{one['fidelity']['meanKl']:.2g}")
            for _, one, size, agreement in points
        ),
        drawing=drawn(name, f"size on disk ({unit})", "top-1 agreement with the source (%)", draw),
    )


def _by_length(plot: Plot, timed: Numbered, key: str, axis: str, factor: float, unit: str) -> Plot:
    """Of what was measured at each prompt length as `key`, shown as `factor` times that, in `unit`."""
    lengths = sorted({speed["promptTokens"] for _, one in timed for speed in one["speeds"]})
    if not timed:
        return replace(plot, words="Nothing was timed.")

    def cells(one: View) -> list[str]:
        held = {speed["promptTokens"]: speed[key]["median"] * factor for speed in one["speeds"]}
        return [f"{rate_text(held[length])}{unit}" if length in held else "-" for length in lengths]

    def draw(axes: Axes) -> None:
        axes.set_xscale("log", base=2)  # prompt lengths double rather than grow
        axes.update_datalim([(lengths[0], 0)])
        for place, one in timed:
            look = series(place)
            beside = 1.012 ** (place - 1.5)  # so that the bars of several can be seen
            at = [speed["promptTokens"] * beside for speed in one["speeds"]]
            median, low, high = (
                [speed[key][which] * factor for speed in one["speeds"]] for which in ("median", "low", "high")
            )
            axes.vlines(at, low, high, color=look["color"], linewidth=1.6, alpha=0.55)
            axes.plot(at, median, label=_label(one), **look)
        axes.minorticks_off()
        axes.set_xticks(lengths)

    return replace(
        plot,
        headings=("precision", *(f"{length} tokens" for length in lengths)),
        rows=tuple((one["precision"], *cells(one)) for _, one in timed),
        drawing=drawn(plot.name, "prompt length (tokens)", axis, draw),
    )


def _memory_over_time(name: str, seen: Numbered) -> Plot:
    plot = Plot(
        name=name,
        title="Memory over time",
        words="The first run: start, load (marked when it had answered), golden prompts, prompts of each length.",
        headings=("precision", "model loaded", "at that time", "highest"),
    )
    if not seen:
        return replace(plot, words="This platform does not report how much memory a process holds.")
    unit, factor = _unit(size for _, one in seen for _, size in one["memory"]["samples"])
    curves = [(place, one, *_with_load(one["memory"], factor)) for place, one in seen]

    def draw(axes: Axes) -> None:
        for place, one, seconds, sizes, loaded in curves:
            axes.plot(seconds, sizes, label=_label(one), markevery=[loaded], **series(place))
        axes.update_datalim([(0, 0)])

    return replace(
        plot,
        rows=tuple(
            (one["precision"], f"{seconds[loaded]:.2f} s", f"{sizes[loaded]:.1f} {unit}", f"{max(sizes):.1f} {unit}")
            for _, one, seconds, sizes, loaded in curves
        ),
        drawing=drawn(name, "seconds since the process began", f"resident memory ({unit})", draw),
    )


def _with_load(memory: View, factor: int) -> tuple[list[float], list[float], int]:
    """Seconds and sizes of the samples, with one for when the model had answered first, which holds what the last
    before it does; and its place."""
    seconds, sizes = ([sample[part] for sample in memory["samples"]] for part in (0, 1))
    loaded = sum(second <= memory["loadedAt"] for second in seconds)
    seconds.insert(loaded, memory["loadedAt"])
    sizes.insert(loaded, sizes[max(loaded - 1, 0)])
    return seconds, [size / factor for size in sizes], loaded


def _label(one: View) -> str:
    return for_terminal(one["precision"])  # SVG cannot hold control characters


def _unit(sizes: Iterable[int]) -> tuple[str, int]:
    """The largest of which the largest size is at least one."""
    largest = max(sizes)
    return next(((unit, factor) for unit, factor in UNITS.items() if largest >= factor), ("KiB", UNITS["KiB"]))
