"""The page in a real browser (tests.browser)."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from reconciler.daemon.http.page_routes import PageRoutes
from tests.browser import CONTRAST, needs_browser, picture, sync_api
from tests.daemon.faces import Faced, faced
from tests.daemon.shown_page import FixedPage
from tests.reports.machine_world import calm_facts, condition, machine_facts, variant
from tests.reports.test_machine_page import NASTY

pytestmark = [pytest.mark.slow, needs_browser]

WIDTHS = (320, 768, 1280, 3840)

OPEN_ALL = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
REACHABLE = """[...document.querySelectorAll("a[href], button, summary, [tabindex='0']")]
  .filter((one) => one.checkVisibility()).length"""
FOCUSED = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const covered = document.querySelector("nav").getBoundingClientRect().bottom;
  return {
    tag: one.tagName, name: (one.getAttribute("aria-label") || one.textContent || "").trim() ||
      document.getElementById(one.getAttribute("aria-labelledby"))?.textContent || "",
    outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    seen: box.width > 0 && box.top < innerHeight && box.bottom > (one.closest("main") ? covered : 0),
  };
}"""


class Window:
    """One open page, what it asked for, and what it complained of."""

    def __init__(self, browser: Any, face: Faced, shown: FixedPage, **options: Any) -> None:
        self.shown = shown
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda one: self.asked.append(one.url))
        self.page.on("console", lambda one: self.complaints.append(one.text))
        self.page.on("pageerror", lambda one: self.complaints.append(str(one)))
        self.page.on("dialog", lambda one: (self.complaints.append("a dialog"), one.dismiss()))
        self.own = f"http://127.0.0.1:{face.face.port}"
        self.page.goto(f"{self.own}/")

    def state(self, name: str) -> Any:
        return self.page.locator(f'[data-variant="{name}"] > .head .state')

    def fits(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.fixture(scope="module")
def shown() -> FixedPage:
    return FixedPage(machine_facts())


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory, shown: FixedPage) -> Iterator[Faced]:
    with faced(tmp_path_factory.mktemp("face") / "root", page=PageRoutes(shown, look=0.1)) as one:
        yield one


@pytest.fixture
def window(browser: Any, face: Faced, shown: FixedPage) -> Iterator[Any]:
    opened: list[Window] = []

    def made(facts: Any = None, **options: Any) -> Window:
        shown.show(facts or machine_facts())
        opened.append(Window(browser, face, shown, **options))
        return opened[-1]

    yield made
    for one in opened:
        one.context.close()


def test_it_follows_the_machine_without_a_reload_and_asks_nobody_else(window: Any) -> None:
    one = window()
    expect, page = sync_api.expect, one.page
    expect(page.locator("#live")).to_have_text("Live")
    page.evaluate("window.sameDocument = true")
    page.locator("summary:has-text('Conditions')").first.click()
    page.locator("summary:has-text('Commands')").first.focus()
    facts = machine_facts()
    ready = [
        variant("capitals", "int4", ("True", "Served", ""), (condition("Serving", "True", "Serving"),)),
        variant("capitals", "int8", ("True", "Served", "")),
        *facts.status["variants"][2:],
    ]
    one.shown.show(replace(facts, status={**facts.status, "variants": ready, "working": None}))
    expect(one.state("capitals-int8")).to_have_text("Ready")
    expect(page.locator("#news")).to_have_text("capitals-int8: Ready")
    expect(page.locator("details[open] > summary:has-text('Conditions')")).to_have_count(1)
    assert page.evaluate("document.activeElement.textContent.startsWith('Commands')")
    assert page.evaluate("window.sameDocument")
    assert {url.removeprefix(one.own) for url in one.asked} == {
        "/",
        "/page/stream",
        "/page/parts/models",
        "/page/parts/overview",
    }
    assert one.complaints == []


def test_a_pause_holds_and_ends(window: Any) -> None:
    one = window(calm_facts())
    expect, page = sync_api.expect, one.page
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_role("button", name="Pause").click()
    one.shown.show(machine_facts())
    page.wait_for_timeout(500)
    expect(page.locator(".headline")).to_have_text("Both variants serve what git declares.")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".headline")).to_have_text(
        "3 of 8 variants serve what git declares; 1 problem in what is declared."
    )


def test_text_that_a_person_selects_is_left_alone(window: Any) -> None:
    one = window(calm_facts())
    page = one.page
    sync_api.expect(page.locator("#live")).to_have_text("Live")
    page.evaluate("getSelection().selectAllChildren(document.getElementById('disk'))")
    facts = calm_facts()
    one.shown.show(replace(facts, disk=replace(facts.disk, free=1)))
    page.wait_for_timeout(500)
    assert page.evaluate("getSelection().toString()").startswith("Disk")
    page.evaluate("getSelection().removeAllRanges()")
    sync_api.expect(page.locator("#disk .head p")).to_have_text("1 B free")


@pytest.mark.parametrize("look", ["light", "dark"])
def test_it_fits_and_can_be_read(window: Any, look: str) -> None:
    one = window(color_scheme=look)
    page = one.page
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": min(max(width * 10 // 16, 640), 2160)})
        assert one.fits(), width
        picture(page, f"machine-{width}-{look}.png")
    page.evaluate(OPEN_ALL)
    ratio, text, seen = page.evaluate(CONTRAST)
    assert seen > 300
    assert ratio >= 4.5, text
    for width in WIDTHS[:2]:
        page.set_viewport_size({"width": width, "height": 800})
        assert one.fits(), width


def test_hostile_texts_are_text(window: Any) -> None:
    names = [f"x{NASTY}", "w" * 2000, "\u05d0\u05d1\u202e evil", "a'\"><b>&lt;"]
    one = window(machine_facts(lambda text: f"{text} {names[len(text) % len(names)]}", events_shown=40))
    page = one.page
    sync_api.expect(page.locator("#live")).to_have_text("Live")
    page.evaluate(OPEN_ALL)
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert one.fits(), width
    assert page.locator("main img, main script, main b:has-text('evil')").count() == 0
    one.shown.show(machine_facts(lambda text: f"{text} {NASTY}", events_shown=41))  # and as it comes by itself
    sync_api.expect(page.locator("#events tbody tr")).to_have_count(41)
    assert page.locator("main img, main script").count() == 0
    assert {url for url in one.asked if not url.startswith(one.own)} == set()
    assert one.complaints == []


def test_a_thousand_events(window: Any) -> None:
    one = window(machine_facts(events_shown=1000))
    rows = one.page.locator("#events tbody tr")
    sync_api.expect(rows).to_have_count(1000)
    sync_api.expect(one.page.locator("#live")).to_have_text("Live")
    one.page.locator("#events .scroll").evaluate("(one) => { one.scrollTop = 400; }")
    facts = machine_facts(events_shown=999)
    one.shown.show(replace(facts, events=[*facts.events, facts.events[0] | {"message": "the newest"}]))
    sync_api.expect(rows.first).to_contain_text("the newest")
    assert one.page.locator("#events .scroll").evaluate("(one) => one.scrollTop") == 400
    assert one.fits()


def test_a_walk_with_the_keyboard(window: Any) -> None:
    one = window(reduced_motion="reduce")
    page = one.page
    sync_api.expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["name"] == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.reload()
    reachable = page.evaluate(REACHABLE)
    visited = []
    for _ in range(reachable + 1):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found["tag"] == "BODY":
            break
        visited.append(found)
        assert found["name"], found
        assert found["outline"] >= 2, found
        assert found["seen"], found
    assert len(visited) >= reachable
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1


def test_what_a_screen_reader_is_told(window: Any) -> None:
    one = window(viewport={"width": 320, "height": 700})
    page = one.page
    for role, name in (("banner", None), ("navigation", "On this page"), ("main", None), ("contentinfo", None)):
        assert page.get_by_role(role, **({"name": name} if name else {})).count() == 1, role
    levels = page.locator("h1, h2, h3, h4").evaluate_all("(all) => all.map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for name in ("Models", "Plan", "Releases", "Events"):
        assert page.get_by_role("region", name=name).count() >= 1, name
    table = page.get_by_role("table", name="What the next pass does, in this order")  # stacked, and still a table
    assert table.get_by_role("row").count() == 3
    assert table.get_by_role("rowheader", name="capitals-int8", exact=True).count() == 1
    assert table.get_by_role("columnheader", name="Forced by").count() == 1
    assert page.get_by_role("progressbar", name="capitals-int8: Converting 43 %").count() == 1
    assert page.locator("[aria-live], [role=status], [role=alert], [role=log]").count() == 2
    assert page.locator("html").get_attribute("lang") == "en"


def test_nothing_moves_for_who_asked_for_that(window: Any) -> None:
    scrolling = "getComputedStyle(document.documentElement).scrollBehavior"
    assert window(reduced_motion="reduce").page.evaluate(scrolling) == "auto"
    assert window(reduced_motion="no-preference").page.evaluate(scrolling) == "smooth"


def test_it_can_be_read_without_scripts(window: Any) -> None:
    one = window(java_script_enabled=False)
    sync_api.expect(one.page.locator("#live")).to_have_text("Reload to see what changed.")
    sync_api.expect(one.state("capitals-int8")).to_have_text("Converting 43 %")


def test_a_page_of_another_site_cannot_look(window: Any) -> None:
    one = window(calm_facts())
    page = one.page
    port = int(one.own.rpartition(":")[2])
    page.route("http://evil.example/", lambda route: route.fulfill(body="<p>hello", content_type="text/html"))
    page.goto("http://evil.example/")
    read = page.evaluate(
        "(url) => fetch(url, {mode: 'no-cors'}).then((one) => one.type, () => 'refused')",
        f"http://127.0.0.1:{port}/page.json",
    )
    assert read == "refused"  # Cross-Origin-Resource-Policy, and 403
    heard = page.evaluate(
        """(url) => new Promise((done) => {
          const stream = new EventSource(url);
          stream.onmessage = () => done('heard'); stream.onerror = () => { stream.close(); done('refused'); };
        })""",
        f"http://127.0.0.1:{port}/page/stream",
    )
    assert heard == "refused"
