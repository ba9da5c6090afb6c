"""The plots of a benchmark's page. Each is a picture, what it shows in words, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.reports.benchmark import svg
from reconciler.reports.benchmark.svg import Tick

View = Mapping[str, Any]

MIB = 1 << 20
UNITS = {"KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """`picture` is SVG; `headings` and `rows` are text, as yet unescaped. Without a picture `words` say why."""

    title: str
    words: str
    picture: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def plots(name: str, variants: Sequence[View]) -> tuple[Plot, ...]:
    """Of one model. `name` begins the ids in the page. A precision keeps its colour and shape in all of them."""
    return (
        size_against_fidelity(f"{name}-size", variants),
        by_length(f"{name}-speed", variants, RATE),
        by_length(f"{name}-first", variants, FIRST_TOKEN),
        memory_over_time(f"{name}-memory", variants),
    )


def size_against_fidelity(name: str, variants: Sequence[View]) -> Plot:
    title = "Size against fidelity"
    known = [(place, one) for place, one in enumerate(variants) if one["fidelity"]]
    headings = ("precision", "size", "agreement", "mean KL")
    if not known:
        words = "None of them was ever compared with its source: reconciler bench --measure does."
        return Plot(title=title, words=words, picture="", headings=headings, rows=())
    unit, factor = _unit(max(one["sizeBytes"] for _, one in known))
    found = [
        (one["sizeBytes"] / factor, one["fidelity"]["top1Agreement"] * 100, one["precision"], place)
        for place, one in known
    ]
    steps = svg.round_steps(min([98.0, *(y for _, y, _, _ in found)]), 100.0, 4)
    x_steps = svg.round_steps(0.0, max(x for x, _, _, _ in found) * 1.02)
    x, y = svg.across(0.0, x_steps[-1]), svg.upward(steps[0], 100.0)
    at = [(x(size), y(share), who, place) for size, share, who, place in found]
    words = "How often the most likely next token is the source's, over fixed texts. Up and to the left is better."
    said = "; ".join(f"{who}: {size:.2f} {unit}, {share:.1f} %" for size, share, who, _ in found)
    frame = svg.axes(
        x,
        y,
        _ticks(x_steps),
        _ticks([one for one in steps if one <= 100.0]),
        f"size on disk ({unit})",
        "top-1 agreement with the source (%)",
    )
    parts = [*frame, *(svg.point(a, b, place) for a, b, _, place in at), *svg.point_labels(at)]
    return Plot(
        title=title,
        words=words,
        picture=svg.picture(name, title, said, parts),
        headings=headings,
        rows=tuple(_fidelity_row(one, unit, factor) for _, one in known),
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
    factor: float


RATE = Measure(
    key="tokensPerSecond",
    title="Speed by prompt length",
    axis="tokens a second",
    words="How fast the answer comes once it has begun. Higher is better; bars show the runs' extremes.",
    factor=1.0,
)
FIRST_TOKEN = Measure(
    key="firstTokenSeconds",
    title="Time to the first token",
    axis="milliseconds until the first token",
    words="How long the prompt takes. Lower is better; bars show the runs' extremes.",
    factor=1000.0,
)


def by_length(name: str, variants: Sequence[View], measure: Measure) -> Plot:
    timed = [(place, one) for place, one in enumerate(variants) if one["speeds"]]
    lengths = sorted({speed["promptTokens"] for _, one in timed for speed in one["speeds"]})
    headings = ("precision", *(f"{length} tokens" for length in lengths))
    if not timed:
        return Plot(title=measure.title, words="Nothing was timed.", picture="", headings=headings, rows=())
    highest = max(speed[measure.key]["high"] for _, one in timed for speed in one["speeds"]) * measure.factor
    steps = svg.round_steps(0.0, highest)
    x = svg.across(lengths[0], lengths[-1], log=True)
    y = svg.upward(0.0, steps[-1])
    x_ticks = [Tick(at=length, text=str(length)) for length in lengths]
    parts = [*svg.axes(x, y, x_ticks, _ticks(steps), "prompt length (tokens)", measure.axis)]
    ends = []
    for place, one in timed:
        at = [_speed_at(speed, measure, x, y) for speed in one["speeds"]]
        parts += [svg.whisker(a + 2 * (place - 1.5), low, high, place) for a, _, low, high in at]
        parts += [svg.curve([(a, b) for a, b, _, _ in at], place)]
        parts += [svg.point(a, b, place) for a, b, _, _ in at]
        ends.append((at[-1][0], at[-1][1], one["precision"], place))
    rows = tuple((one["precision"], *_cells(one, lengths, measure)) for _, one in timed)
    said = "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in rows)
    description = f"{measure.axis}, at prompts of {', '.join(map(str, lengths))} tokens. {said}"
    return Plot(
        title=measure.title,
        words=measure.words,
        picture=svg.picture(name, measure.title, description, [*parts, *svg.end_labels(ends)]),
        headings=headings,
        rows=rows,
    )


def _speed_at(
    speed: View, measure: Measure, x: Callable[[float], float], y: Callable[[float], float]
) -> tuple[float, float, float, float]:
    """Where it stands, and from where to where it went."""
    found = speed[measure.key]
    heights = (y(found[name] * measure.factor) for name in ("median", "low", "high"))
    return (x(speed["promptTokens"]), *heights)  # type: ignore[return-value]


def _cells(one: View, lengths: Sequence[int], measure: Measure) -> Iterator[str]:
    held = {speed["promptTokens"]: speed[measure.key]["median"] * measure.factor for speed in one["speeds"]}
    for length in lengths:
        unit = " ms" if measure is FIRST_TOKEN else ""
        yield f"{_short(held[length])}{unit}" if length in held else "-"


def memory_over_time(name: str, variants: Sequence[View]) -> Plot:
    title = "Memory over time"
    seen = [(place, one) for place, one in enumerate(variants) if one["memory"] and one["memory"]["samples"]]
    headings = ("precision", "model loaded", "at that time", "highest")
    if not seen:
        words = "This platform does not tell what memory a process holds."
        return Plot(title=title, words=words, picture="", headings=headings, rows=())
    highest = max(size for _, one in seen for _, size in one["memory"]["samples"])
    unit, factor = _unit(highest)
    longest = max(one["memory"]["samples"][-1][0] for _, one in seen)
    steps, x_steps = svg.round_steps(0.0, highest / factor), svg.round_steps(0.0, longest)
    x, y = svg.across(0.0, x_steps[-1]), svg.upward(0.0, steps[-1])
    parts = [
        *svg.axes(
            x,
            y,
            _ticks(x_steps),
            _ticks(steps),
            "seconds since the process began",
            f"resident memory ({unit})",
        )
    ]
    ends, rows = [], []
    for place, one in seen:
        memory = one["memory"]
        at = [(x(seconds), y(size / factor)) for seconds, size in memory["samples"]]
        then = _held_at(memory)
        parts += [svg.curve(at, place), svg.point(x(memory["loadedAt"]), y(then / factor), place)]
        ends.append((*at[-1], one["precision"], place))
        top = max(size for _, size in memory["samples"])
        rows.append(
            (
                one["precision"],
                f"{memory['loadedAt']:.2f} s",
                f"{then / factor:.1f} {unit}",
                f"{top / factor:.1f} {unit}",
            )
        )
    said = "; ".join(
        f"{who}: loaded after {after}, holding {held}, at most {most}" for who, after, held, most in rows
    )
    words = (
        "The first run: start, load (marked when it had answered), golden prompts, prompts of each length."
    )
    picture = svg.picture(name, title, said, [*parts, *svg.end_labels(ends)])
    return Plot(title=title, words=words, picture=picture, headings=headings, rows=tuple(rows))


def _held_at(memory: View) -> float:
    """When the model had answered first: the last sample before."""
    before = [size for seconds, size in memory["samples"] if seconds <= memory["loadedAt"]]
    return float(before[-1] if before else memory["samples"][0][1])


def _ticks(steps: Sequence[float]) -> list[Tick]:
    return [Tick(at=one, text=_tick_text(one)) for one in steps]


def _tick_text(number: float) -> str:
    return f"{number / 1000:g}k" if number >= 10_000 else f"{number:g}"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def _unit(size: float) -> tuple[str, int]:
    """The largest of which there is at least one."""
    return next(((unit, f) for unit, f in reversed(UNITS.items()) if size >= f), ("KiB", UNITS["KiB"]))
