"""The page of a benchmark in a browser: wide and narrow, light and dark. Skipped where there is no Chromium."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.reports.benchmark.page import bench_page
from reconciler.reports.benchmark.report import bench_view
from tests.browser import needs_browser
from tests.gates.bench_world import GIB, benched, benchmark, fidelity, run, whole

pytestmark = [pytest.mark.slow, needs_browser]

LOOK = """() => {
const box = e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
const color = (e, name) => getComputedStyle(e)[name];
return {
  width: innerWidth, scroll: document.documentElement.scrollWidth,
  ground: color(document.body, "backgroundColor"), ink: color(document.body, "color"),
  card: color(document.querySelector("figure").closest(".card"), "backgroundColor"),
  plots: [...document.querySelectorAll("svg")].map(s => ({
    frame: box(s.closest("figure")),
    texts: [...s.querySelectorAll("text")].map(t => ({
      said: t.textContent, kind: t.closest("[class]").getAttribute("class"), box: box(t),
      size: parseFloat(color(t, "fontSize")) * s.getBoundingClientRect().width / s.viewBox.baseVal.width,
      fill: color(t, "fill")})),
    points: [...s.querySelectorAll(".line2d use")].map(box)})),
};
}"""

SAME = benchmark(
    *(
        benched(name, size_bytes=GIB, fidelity=fidelity(1.0), runs=(run(),))
        for name in ("fp32", "fp16", "bf16", "int8", "int4")
    )
)
PAGES = {"usual": whole(), "all in one place": SAME}


@pytest.fixture(scope="module", params=PAGES)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(bench_page(bench_view(PAGES[request.param])), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(browser: Any, file: Path) -> Iterator[Any]:
    """Open once, because a page costs as much as all that is asked of it."""
    one = browser.new_page()
    one.goto(file.as_uri())
    yield one
    one.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_can_be_read(page: Any, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 3000})
    page.emulate_media(color_scheme=scheme)
    seen = page.evaluate(LOOK)
    shot = page.screenshot()
    assert len(shot) > 50_000  # an empty page has a tenth of that
    assert seen["width"] == width
    assert seen["scroll"] <= width, "the page is wider than the screen"
    assert (brightness(seen["ground"]) > 0.5) == (scheme == "light")
    assert contrast(seen["ink"], seen["ground"]) >= 7
    assert len(seen["plots"]) == 4
    for plot in seen["plots"]:
        assert plot["points"]
        for text in plot["texts"]:
            assert text["size"] >= 11, f"{text['said']} is too small to read"
            assert within(text["box"], plot["frame"]), f"{text['said']} leaves its frame"
            assert contrast(text["fill"], seen["card"]) >= 4.5
        labels = [text for text in plot["texts"] if text["kind"].startswith("label")]
        assert labels
        for number, one in enumerate(plot["texts"]):
            for other in plot["texts"][number + 1 :]:
                assert not meet(one["box"], other["box"]), f"{one['said']} lies on {other['said']}"


def meet(one: list[float], other: list[float]) -> bool:
    """Text boxes have room around their letters: a pixel of it may be shared."""
    shared_x = min(one[2], other[2]) - max(one[0], other[0])
    return shared_x > 1 and min(one[3], other[3]) - max(one[1], other[1]) > 4


def within(inner: list[float], outer: list[float]) -> bool:
    return inner[0] >= outer[0] and inner[2] <= outer[2] and inner[1] >= outer[1] and inner[3] <= outer[3]


def brightness(color: str) -> float:
    """Relative luminance, as WCAG has it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear: list[Any] = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def contrast(one: str, other: str) -> float:
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)
