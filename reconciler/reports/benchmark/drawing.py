"""How a plot of the benchmark's page is drawn: matplotlib's axes in the page's style, as SVG that stands in the page.

Text stays text, and colours become the custom properties of `html/look.css`, so that one drawing serves light, dark and
paper. The same numbers give the same bytes. matplotlib is the optional extra `bench`, and is imported when it draws.
"""

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any, TypeAlias

Axes: TypeAlias = Any  # matplotlib.axes.Axes, of an optional extra

WIDTH, HEIGHT = 430, 310
FONT = 14  # the size that room is left for: that of a narrow screen; look.css makes it smaller on others

_COLORS = {
    "#5b626c": "var(--quiet)",
    "#dcdfe4": "var(--line)",
    "#ffffff": "var(--card)",
    "#0a62b0": "var(--s0)",
    "#b04a00": "var(--s1)",
    "#157347": "var(--s2)",
    "#8a2f9c": "var(--s3)",
    "#6b6100": "var(--s4)",
}
_QUIET, _LINE, _CARD, *_SERIES = _COLORS
_MARKERS = "os^Dv"
_DASHES = ("-", (0, (3.2, 1.4)), (0, (1.2, 1.3)), (0, (4, 1.4, 1, 1.4)), (0, (6, 2)))
_STYLE = {
    "axes.autolimit_mode": "round_numbers",
    "axes.edgecolor": _QUIET,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": _QUIET,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _QUIET,
    "axes.titlelocation": "left",
    "axes.titlesize": FONT,
    "axes.xmargin": 0,
    "axes.ymargin": 0,
    "figure.constrained_layout.h_pad": 8 / 72,
    "font.family": "DejaVu Sans",  # matplotlib brings it, so that room is left alike on every machine
    "font.size": FONT,
    "grid.color": _LINE,
    "grid.linewidth": 1,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "ytick.left": False,
}
_SHAPES = frozenset({"g", "path", "use", "defs", "text", "tspan", "line", "rect", "circle", "polyline", "polygon"})
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


def drawn(name: str, x_title: str, y_title: str, draw: Callable[[Axes], None]) -> str:
    """What belongs inside an `svg` of WIDTH by HEIGHT. `name` begins the ids in it. `draw` labels what is drawn."""
    from matplotlib import style
    from matplotlib.figure import Figure

    held = io.StringIO()
    with style.context(["default", {**_STYLE, "svg.hashsalt": name}]):  # nothing from the user's matplotlibrc
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained", facecolor="none")
        axes = figure.add_subplot(facecolor="none", xlabel=x_title)
        axes.set_title(y_title, pad=10)  # above the axis, where it can be read without turning the head
        draw(axes)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda n, _: f"{n / 1000:g}k" if n >= 10_000 else f"{n:g}")
        _legend(axes)
        figure.savefig(held, format="svg", metadata={"Date": None})
    return _inside(held.getvalue(), name)


def series(place: int) -> dict[str, Any]:
    """Each has a colour, a shape and a dash of its own, and can be recognised by any of them."""
    return {
        "color": _SERIES[place % len(_SERIES)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": _DASHES[place % len(_DASHES)],
        "linewidth": 2.2,
        "markersize": 9,
        "markeredgecolor": _CARD,
    }


def _legend(axes: Axes) -> None:
    legend = axes.figure.legend(
        loc="outside upper left",
        ncols=len(_SERIES),
        frameon=False,
        columnspacing=0.9,
        handlelength=2,
        handletextpad=0.5,
        borderpad=0,
    )
    for line, text in zip(legend.get_lines(), legend.get_texts(), strict=True):
        text.set(gid="label", color=line.get_color(), weight="bold")


def is_plain(drawing: str) -> bool:
    """Whether a drawing that was kept holds nothing but shapes and text, and refers to nothing outside itself."""
    try:
        root = ET.fromstring(f'<svg xmlns:xlink="{_LINK[1:].partition("}")[0]}">{drawing}</svg>')
    except ET.ParseError:
        return False
    inner = [one for one in root.iter() if one is not root]
    return all(one.tag in _SHAPES and all(map(_is_plain, one.attrib.items())) for one in inner)


def _is_plain(attribute: tuple[str, str]) -> bool:
    name, held = attribute
    if name == _LINK:
        return held.startswith("#")
    return "}" not in name and not name.startswith("on") and "href" not in name and "url(" not in held


def _inside(svg: str, name: str) -> str:
    root = ET.fromstring(svg)
    used = {one.attrib[_LINK][1:] for one in root.iter() if _LINK in one.attrib}
    for one in root.iter():
        _made_plain(one, used, name)
    return "".join(ET.tostring(one, encoding="unicode") for one in root.findall("g"))


def _made_plain(one: ET.Element, used: set[str], name: str) -> None:
    """For HTML: no name spaces, no `style`, no clipping (nothing leaves the axes), and no id that is not referred to:
    those that we gave become classes."""
    one.tag = one.tag.removeprefix(_SVG)
    one.text, one.tail = (one.text or "").strip(), None
    given = dict(one.attrib)
    one.attrib.clear()
    given |= dict(part.strip().split(": ", 1) for part in given.pop("style", "").split(";") if part.strip())
    for key, held in given.items():
        if key == "id":
            one.attrib.update({"id": f"{name}-{held}"} if held in used else {"class": held.partition("_")[0]})
        elif key == _LINK:
            one.set("xlink:href", f"#{name}-{held[1:]}")
        elif key not in ("clip-path", "font-family", "font-size", "font-weight"):
            one.set(key, _COLORS.get(held, held))
