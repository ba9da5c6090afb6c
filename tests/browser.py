"""A real browser for the tests of pages: Chromium, headless, driven by Playwright. Where one of the two is not
installed, tests that ask for it are skipped (`needs_browser`)."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    from playwright import sync_api
except ImportError:  # it is in the extra `dev` only
    sync_api = None  # type: ignore[assignment]

CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser")  # the first takes half as long
CHROMIUM = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or sync_api is None,
    reason="Chromium and playwright are not installed (Debian: apt install chromium-headless-shell)",
)
PICTURES = os.environ.get("RECONCILER_SCREENSHOTS", "")  # a folder: pictures of each width and look are kept there


# The lowest contrast of any text that is seen with what lies behind it, after WCAG 2.2, and that text.
CONTRAST = """() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((c) => linear(c / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  let seen = 0;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode, element = node.parentElement;
    if (!node.data.trim() || element.closest("script, style, title, desc") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(numbers(element.closest("svg") ? style.fill : style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen += 1;
    if (ratio < worst[0]) worst = [ratio, `${node.data.trim().slice(0, 40)} (${style.color})`];
  }
  return [...worst, seen];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One process for all tests of a file; meanwhile the main thread has a running asyncio loop. Without its sandbox,
    which needs rights that a container lacks: it is shown our own pages only."""
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield found
        found.close()


def picture(page: Any, name: str, *, whole: bool = True) -> None:
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(PICTURES, name)), full_page=whole)
