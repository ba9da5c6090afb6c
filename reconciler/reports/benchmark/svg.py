"""Small plots as SVG text: axes, lines, points, and labels that stand beside what they name and never on each other.

Colours, fonts and dashes belong to the page's style sheet (classes `s0`, `s1`, ...), so that one drawing serves light,
dark and paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log2, log10

from reconciler.domain.escape import for_html

WIDTH, HEIGHT = 430, 290
LEFT, RIGHT, TOP, BOTTOM = 50, 62, 34, 44
FONT = 13
LINE = FONT + 3  # the least distance of two labels
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """From numbers to pixels. `log` in powers of two: prompt lengths double rather than grow."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, number: float) -> float:
        low, high, at = (
            (map(log2, (self.low, self.high, number))) if self.log else (self.low, self.high, number)
        )
        return self.begin + (self.end - self.begin) * ((at - low) / (high - low) if high > low else 0.5)


@dataclass(frozen=True, kw_only=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Box:
    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Box) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


def across(low: float, high: float, *, log: bool = False) -> Scale:
    return Scale(low=low, high=high, begin=LEFT + 6, end=WIDTH - RIGHT, log=log)


def upward(low: float, high: float) -> Scale:
    return Scale(low=low, high=high, begin=HEIGHT - BOTTOM, end=TOP)


def round_steps(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`."""
    step = _step((high - low) / count if high > low else abs(high) or 1.0)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def picture(name: str, title: str, description: str, parts: Iterable[str]) -> str:
    """`name` is an id in the page."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{for_html(title)}</title><desc id="{name}-d">{for_html(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def axes(
    x: Scale, y: Scale, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], x_title: str, y_title: str
) -> Iterator[str]:
    """The upright axis has its title above it, where it can be read."""
    left, right, bottom = LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick in y_ticks:
        at = y(tick.at)
        yield f'<line class="grid" x1="{left}" y1="{_n(at)}" x2="{right + 6}" y2="{_n(at)}"/>'
        yield text(left - 6, at + 4.5, tick.text, "tick", "end")
    yield f'<line class="axis" x1="{left}" y1="{bottom}" x2="{right + 6}" y2="{bottom}"/>'
    for tick in x_ticks:
        at = x(tick.at)
        yield f'<line class="axis" x1="{_n(at)}" y1="{bottom}" x2="{_n(at)}" y2="{bottom + 4}"/>'
        yield text(at, bottom + 18, tick.text, "tick")
    yield text((left + right) / 2, HEIGHT - 7, x_title, "title")
    yield text(2, 14, y_title, "title", "start")


def text(x: float, y: float, said: str, kind: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{for_html(said)}</text>'


def curve(points: Sequence[tuple[float, float]], series: int) -> str:
    path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return f'<polyline class="curve s{series}" points="{path}"/>'


def point(x: float, y: float, series: int) -> str:
    """Each series has a shape of its own, for those who do not see its colour."""
    at = f'transform="translate({_n(x)} {_n(y)})"'
    return f'<path class="point s{series}" {at} d="{_SHAPES[series % len(_SHAPES)]}"/>'


def whisker(x: float, low: float, high: float, series: int) -> str:
    """From the lowest to the highest of the runs."""
    return f'<line class="whisker s{series}" x1="{_n(x)}" y1="{_n(low)}" x2="{_n(x)}" y2="{_n(high)}"/>'


def end_labels(ends: Sequence[tuple[float, float, str, int]]) -> Iterator[str]:
    """Names beside the ends of curves, pushed apart where curves end together."""
    heights = apart([y for _, y, _, _ in ends], HEIGHT - BOTTOM)
    for (x, y, name, series), height in zip(ends, heights, strict=True):
        if abs(height - y) > 4:
            yield _leader(x + 5, y, x + 13, height, series)
        yield text(x + 15 if abs(height - y) > 4 else x + 9, height + 4.5, name, f"label s{series}", "start")


def apart(wanted: Sequence[float], high: float, gap: float = LINE) -> list[float]:
    """As near to the wanted heights as can be with `gap` between neighbours, in the order that they are in."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    held = [wanted[place] for place in order]
    for place in range(1, len(held)):
        held[place] = max(held[place], held[place - 1] + gap)
    room = high
    for place in range(len(held) - 1, -1, -1):  # what was pushed over the edge comes back, and pushes in turn
        held[place] = min(held[place], room)
        room = held[place] - gap
    return [held[order.index(place)] for place in range(len(wanted))]


def point_labels(points: Sequence[tuple[float, float, str, int]]) -> Iterator[str]:
    """Names beside points, where there is room: right, left, above, below, then further away with a line."""
    taken = [Box(x=x - 6, y=y - 6, width=12, height=12) for x, y, _, _ in points]
    for x, y, name, series in points:
        box = next((one for one in _places(x, y, name) if _is_free(one, taken)), _places(x, y, name)[0])
        taken.append(box)
        near_x, near_y = min(max(x, box.x), box.x + box.width), box.y + box.height / 2
        if abs(near_x - x) > 12 or abs(near_y - y) > 20:
            yield _leader(x, y, near_x, near_y, series)
        yield text(box.x, box.y + FONT - 1, name, f"label s{series}", "start")


def _places(x: float, y: float, name: str) -> list[Box]:
    width = text_width(name)
    near = [(x + 9, y - 8), (x - 9 - width, y - 8), (x - width / 2, y - 25), (x - width / 2, y + 9)]
    far = [
        (x + side, y - 8 + step * LINE) for step in (1, -1, 2, -2, 3, -3, 4, -4) for side in (16, -16 - width)
    ]
    return [Box(x=left, y=top, width=width, height=FONT + 2) for left, top in (*near, *far)]


def _is_free(box: Box, taken: Iterable[Box]) -> bool:
    inside = (
        box.x >= LEFT + 2 and box.x + box.width <= WIDTH - 2 and TOP - 8 <= box.y <= HEIGHT - BOTTOM - LINE
    )
    return inside and not any(box.meets(other) for other in taken)


def text_width(said: str) -> float:
    """About, and rather too wide: no font is known here."""
    return len(said) * FONT * 0.62


def _leader(x1: float, y1: float, x2: float, y2: float, series: int) -> str:
    return f'<line class="leader s{series}" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"/>'


def _step(wanted: float) -> float:
    size = 10.0 ** floor(log10(wanted))
    return next(size * step for step in STEPS if size * step >= wanted * 0.999)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


_SHAPES = (
    "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z",  # circle
    "M-4.5,-4.5h9v9h-9z",  # square
    "M0,-6L5.5,4.5h-11z",  # triangle
    "M0,-6L6,0L0,6L-6,0z",  # diamond
    "M-5.5,-4.5h11L0,6z",  # triangle, upside down
)
