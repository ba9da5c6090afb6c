"""The table, the Markdown and the page, from numbers that never change. UPDATE_GOLDEN=1 writes the golden files."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from reconciler.gates.benchmark import Golden
from reconciler.reports.benchmark.page import bench_page, benchmark_shown
from reconciler.reports.benchmark.plots import plots
from reconciler.reports.benchmark.report import bench_markdown, bench_text, bench_view
from tests.gates.bench_world import GIB, MACHINE, UNFITTING, UNFITTING_SAID, benched, benchmark, fidelity, run, whole

GOLDEN = Path(__file__).parent / "golden"
RENDERERS = {"bench.txt": bench_text, "bench.md": bench_markdown, "bench.html": bench_page}
KEPT = "bench-kept.json"  # for the page of a machine; tests/reports/machine_world.py shows it
VOID = {"meta", "br", "link"}
drawn: dict[str, Any] = {}

pytestmark = pytest.mark.slow  # it draws


@pytest.fixture(autouse=True)
def the_same_numbers_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def once(name: str, variants: Sequence[Mapping[str, Any]]) -> Any:
        asked = repr((name, variants))
        if asked not in drawn:
            drawn[asked] = plots(name, variants)
        return drawn[asked]

    monkeypatch.setattr("reconciler.reports.benchmark.page.plots", once)


@pytest.mark.parametrize("name", [*RENDERERS, KEPT])
def test_what_is_rendered(name: str) -> None:
    text = RENDERERS.get(name, kept)(bench_view(whole()))
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} is out of date: UPDATE_GOLDEN=1"


def kept(view: Mapping[str, Any]) -> str:
    return json.dumps(benchmark_shown(view), indent=1) + "\n"


class Page(HTMLParser):
    """Well-formed, and which elements and attributes it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


NASTY = '</td><script>alert("1")</script><img src=x onerror=alert(1)>\x1b[2J\u202e&amp;\'"'


def nasty() -> str:
    """Everything that others write, written by somebody with bad intentions."""
    told = Golden(messages=(("user", NASTY),), check="contains", expected=NASTY, answer=NASTY, passed=False)
    machine = replace(MACHINE, name=NASTY, cpu=NASTY, runtime={NASTY: NASTY})
    failed = benched("int8", problem=(NASTY, NASTY), runs=())
    return bench_page(bench_view(benchmark(benched(golden=(told,)), failed, machine=machine, date=NASTY)))


def usual() -> str:
    return bench_page(bench_view(whole()))


@pytest.mark.parametrize("made", [usual, nasty])
def test_the_page_asks_for_nothing_and_runs_nothing(made: Callable[[], str]) -> None:
    page = made()
    seen = Page(page).seen
    assert not {"script", "img", "iframe", "object"} & {tag for tag, _ in seen}
    names = {name for _, attributes in seen for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style")}
    targets = {attributes["href"] or "" for _, attributes in seen if "href" in attributes}
    assert all(one.startswith("#") for one in targets - {"data:,"})
    assert "://" not in page
    assert "@import" not in page
    assert "url(" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize("made", [usual, nasty])
def test_every_id_is_there_once_and_drawings_refer_to_their_own(made: Callable[[], str]) -> None:
    seen = Page(made()).seen
    ids = [attributes["id"] for _, attributes in seen if "id" in attributes]
    assert len(ids) == len({*ids})
    assert {attributes["xlink:href"] for _, attributes in seen if "xlink:href" in attributes} <= {
        f"#{one}" for one in ids
    }


def test_a_hostile_precision_is_drawn_as_text() -> None:
    page = bench_page(bench_view(benchmark(benched(NASTY), benched("$x^2$"))))
    Page(page)
    assert "<script" not in page
    assert page.count(">$x^2$</text>") == 4


def test_what_others_wrote_is_shown_and_not_obeyed() -> None:
    page = nasty()
    assert page.count("&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;") >= 6
    assert "&amp;amp;" in page
    assert "\\x1b[2J" in page


def test_a_picture_says_in_words_what_it_shows() -> None:
    page = usual()
    pictures = [attributes for tag, attributes in Page(page).seen if tag == "svg"]
    assert len(pictures) == 4  # nothing of the model that never ran
    named = {attributes.get("id") for _, attributes in Page(page).seen}
    for picture in pictures:
        assert picture["role"] == "img"
        assert set((picture["aria-labelledby"] or "").split()) <= named
    assert page.count("<desc") == 4
    assert "int8: size 4.10 GiB, agreement 98.5%, mean KL 0.004" in page


def test_the_page_draws_with_letters_that_every_font_has() -> None:
    assert {c for c in usual() if ord(c) > 126} <= set("±·")


@pytest.mark.parametrize(
    ("load", "best_effort"), [(None, False), (0.5, False), (3.9, False), (4.0, True), (40.0, True)]
)
def test_a_busy_machine_is_told(load: float | None, best_effort: bool) -> None:
    view = bench_view(benchmark(benched(), machine=replace(MACHINE, load_average=load)))
    for renderer in RENDERERS.values():
        assert ("ept this machine busy" in renderer(view)) == best_effort


def test_an_interrupted_one_says_so() -> None:
    view = bench_view(benchmark(benched(), complete=False))
    for renderer in RENDERERS.values():
        assert "nterrupted" in renderer(view)


def test_one_that_was_never_compared_says_how_to() -> None:
    view = bench_view(benchmark(benched(fidelity=None)))
    assert "bench --measure" in bench_text(view)
    assert "bench --measure" in bench_page(view)


def test_a_length_that_does_not_fit_is_told() -> None:
    one = run()
    long = replace(one, measured=replace(one.measured, speeds=(*one.measured.speeds, UNFITTING)))
    page = bench_page(bench_view(benchmark(benched(runs=(long,), context=4096))))
    assert f"int4: {escape(UNFITTING_SAID)}" in page


def test_points_in_one_place_are_all_named() -> None:
    """Four precisions that are equally large and equally right."""
    names = ("fp32", "fp16", "int8", "int4")
    same = [benched(name, size_bytes=GIB, fidelity=fidelity(1.0)) for name in names]
    page = bench_page(bench_view(benchmark(*same)))
    for name in names:
        assert len(re.findall(rf'<g class="label"><text[^>]*>{name}</text>', page)) == 4
