"""The fleet's page in a real browser (tests.browser), opened as a file."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.machine_report import FORGED, JudgedReport
from reconciler.reports.fleet.page import fleet_page
from reconciler.reports.fleet.view import FleetFacts, fleet_view
from tests.browser import CONTRAST, needs_browser, picture, sync_api
from tests.machine_reports.documents import GOOD, NOW
from tests.reports.test_fleet_view import BAD, COMMITS, EDGE, HOSTILE, OLD, seen

pytestmark = [pytest.mark.slow, needs_browser]

WIDTHS = (320, 768, 1280, 3840)
SITES = ("ljubljana", "maribor", "koper")
MANY = 3000

Opener = Callable[..., Any]


def some(count: int) -> FleetFacts:
    """Every seventh is not ready, every eleventh serves an old release; one has texts that mean harm."""
    machines = []
    for at in range(count):
        row = (
            BAD if at % 7 == 3 else replace(GOOD, serves=OLD, ready="False", reason="Behind") if at % 11 == 5 else GOOD
        )
        labels = {"site": SITES[at % 3]}
        machines.append(seen(f"edge-{at}", row, labels=labels, applied_revision=f"main@sha1:{COMMITS[at % 3]}"))
    hostile = seen("edge<img src=x onerror=alert(1)>", replace(BAD, message=HOSTILE), labels={"site": HOSTILE})
    return FleetFacts(
        machines=(*machines, hostile),
        problems=(JudgedReport(entry=HOSTILE, standing=FORGED, why=HOSTILE),),
        commits=COMMITS,
        repository="https://github.com/acme/fleet.git",
        branch="main",
        group_by="site",
        rollouts=(EDGE,),
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "fleet.html"
    path.write_text(fleet_page(fleet_view(some(MANY), NOW)).html, encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opener]:
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(hash_: str = "", **options: Any) -> Any:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.on("request", lambda one: complaints.extend([one.url] * (not one.url.startswith(("file:", "data:")))))
        page.on("console", lambda one: complaints.append(one.text))
        page.on("pageerror", lambda one: complaints.append(str(one)))
        page.on("dialog", lambda one: (complaints.append("a dialog"), one.dismiss()))
        page.goto(f"file://{file}{hash_}")
        return page

    yield open_page
    for one in contexts:
        one.close()
    assert complaints == []  # nothing was asked of anybody, and the browser had nothing to object to


def _count(page: Any) -> str:
    return str(page.locator("#count").text_content())


def _focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.querySelector('[role=gridcell]')?.textContent || ''"))


def test_only_the_rows_in_sight_are_in_the_page(opened: Opener) -> None:
    page = opened()
    assert _count(page) == f"{MANY + 1:,} machines"
    assert page.locator(".grid-body .line").count() < 100
    assert page.locator("#grid").get_attribute("aria-rowcount") == str(MANY + 2)
    page.evaluate("document.getElementById('body').scrollTop = 1e7")
    sync_api.expect(page.locator(f".grid-body .line[aria-rowindex='{MANY + 2}']")).to_be_visible()
    assert page.locator(".grid-body .line").count() < 100


def test_search_and_filters(opened: Opener) -> None:
    page = opened()
    expect = sync_api.expect
    page.fill("#q", "edge-17 site=koper")
    expect(page.locator("#count")).to_have_text(f"{_fit('edge-17', 'koper')} of 3,001 machines")
    page.fill("#q", OLD[:30])
    expect(page.locator("#count")).to_have_text(
        f"{sum(at % 11 == 5 and at % 7 != 3 for at in range(MANY))} of 3,001 machines"
    )
    page.click("#clear")
    expect(page.locator("#count")).to_have_text("3,001 machines")
    page.select_option("#state", "behind")
    expect(page.locator("#count")).to_have_text("2,000 of 3,001 machines")
    page.select_option("#group", "koper")
    expect(page.locator("#count")).to_have_text("1,000 of 3,001 machines")
    page.fill("#q", "no such machine")
    expect(page.locator(".nothing")).to_be_visible()


def _fit(name: str, site: str) -> int:
    return sum(name in f"edge-{at}" and SITES[at % 3] == site for at in range(MANY))


def test_a_link_to_a_machine_opens_it_and_not_those_that_begin_so(opened: Opener) -> None:
    page = opened()
    page.evaluate("location.hash = 'q=edge-17'")
    sync_api.expect(page.locator("#detail-title")).to_have_text("edge-17")
    assert page.locator(".grid-body .line").first.locator("[role=gridcell]").first.text_content() == "edge-17"
    detail = page.locator("#detail")
    assert "GateFailed: what was measured of the release misses a bar" in str(detail.text_content())
    assert "reconciler explain capitals-int4" in str(detail.text_content())
    assert "ssh -L 9464:127.0.0.1:9464 edge-17" in str(detail.text_content())


def test_a_ring_leads_to_its_machines(opened: Opener) -> None:
    page = opened(viewport={"width": 320, "height": 900})
    assert page.locator("#ring option").all_text_contents() == ["any", "canary", "early", "broad"]
    box = page.locator("#rollouts .scroll").first
    assert box.evaluate("one => one.scrollHeight <= one.clientHeight")  # no ring is out of sight
    page.locator("#rollouts a", has_text="broad").first.click()
    sync_api.expect(page.locator("#ring")).to_have_value("broad")
    sync_api.expect(page.locator("#count")).to_have_text(f"{MANY + 1:,} machines")


def test_a_view_can_be_sent_to_somebody(opened: Opener) -> None:
    page = opened("#state=notReady&group=maribor")
    assert page.locator("#state").input_value() == "notReady"
    assert _count(page).endswith(" of 3,001 machines")
    page.locator(".matrix td a").first.click()
    assert "model=capitals" in page.url


def test_a_walk_with_the_keyboard(opened: Opener) -> None:
    page = opened("#order=name")
    page.locator("#clear").focus()
    page.keyboard.press("Tab")
    assert _focused(page) == "edge-0"
    for key, name in [("ArrowDown", "edge-1"), ("ArrowDown", "edge-2"), ("ArrowUp", "edge-1"), ("Home", "edge-0")]:
        page.keyboard.press(key)
        assert _focused(page) == name
    page.keyboard.press("End")
    assert _focused(page).startswith("edge<img")
    page.keyboard.press("PageUp")
    assert _focused(page).startswith("edge-29")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#detail")).to_be_focused()
    assert page.locator("#detail-title").text_content().startswith("edge-29")
    page.locator("#detail button").click()
    assert _focused(page).startswith("edge-29")


def test_the_detail_says_why_and_leads_to_what_would_change_it(opened: Opener) -> None:
    page = opened("#q=edge-17")  # it is behind by two
    page.locator(".grid-body .line", has_text="edge-17").first.click()
    detail = page.locator("#detail")
    sync_api.expect(detail).to_contain_text("first token 812 ms")
    link = detail.locator("a[href]").first
    assert link.get_attribute("href") == f"https://github.com/acme/fleet/compare/{COMMITS[17 % 3]}...main"


def test_hostile_texts_are_text(opened: Opener) -> None:
    page = opened("#q=onerror")
    page.locator(".grid-body .line").first.click()
    assert page.locator("main img, main script:not([type])").count() == 0
    assert "alert(1)" in page.locator("#detail").text_content()


@pytest.mark.parametrize("look", ["light", "dark"])
def test_it_fits_and_can_be_read(opened: Opener, look: str) -> None:
    page = opened(color_scheme=look)
    page.locator(".grid-body .line").first.click()
    ratio, text, count = page.evaluate(CONTRAST)
    assert ratio >= 4.5, text
    assert count > 100
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        page.evaluate("scrollTo(0, 0)")
        picture(page, f"fleet-{look}-{width}.png", whole=False)


def test_what_a_screen_reader_is_told(opened: Opener) -> None:
    page = opened()
    page.locator(".grid-body .line").first.click()
    unnamed = page.evaluate("""[...document.querySelectorAll("a, button, input, select, section, [role=grid]")]
      .filter((one) => !one.hidden && !(one.getAttribute("aria-label") || one.getAttribute("aria-labelledby") ||
        one.textContent.trim() || one.closest("label"))).map((one) => one.outerHTML.slice(0, 80))""")
    assert unnamed == []
    rows = page.evaluate(
        """[...document.querySelectorAll(".grid-body .line")].map((one) => Number(one.ariaRowIndex))"""
    )
    assert rows == sorted(rows)
    assert page.locator("#count").get_attribute("role") == "status"
    assert page.locator("[role=columnheader]").count() >= 8


def test_it_can_be_read_without_scripts(opened: Opener) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator(".matrix tbody tr").count() == 1
    assert "needs the page" in page.locator("noscript").inner_html()
