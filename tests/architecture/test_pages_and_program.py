"""What pages say of the program is what it is: verbs and their options, what wakes the daemon, the lines of its log."""

import re
from pathlib import Path

import pytest

from reconciler.daemon import wake
from tests.architecture.test_docs import CODE, DECISIONS, PAGES, ROOT, text_of

REFERENCE = ROOT / "docs" / "reference.md"  # generated from the program (tests/cli/test_reference.py)
SECTION = re.compile(r"^## reconciler (\S+)\n(.*?)(?=^## )", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?<![\w/.-])reconciler ([a-z][a-z-]+)\b([^\n`|;&#]*)")
OPTION = re.compile(r"(?<!\S)(--[a-z][a-z-]+)\b")
NO_VERBS = {"root", "cannot", "daemon", "schema"}  # words that come after the name in a sentence within code
WORDS = {page for page in PAGES if DECISIONS in page.parents}  # a decision tells what was so when it was made


def options_by_verb() -> dict[str, set[str]]:
    return {verb: set(re.findall(r"--[a-z][a-z-]+", text)) for verb, text in SECTION.findall(text_of(REFERENCE))}


@pytest.mark.parametrize(
    "page", sorted({*PAGES} - WORDS - {REFERENCE}), ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_a_command_on_a_page_is_one_of_the_program(page: Path) -> None:
    known, wrong = options_by_verb(), []
    for verb, rest in COMMAND.findall("\n".join(CODE.findall(text_of(page)))):
        if verb not in known:
            wrong += [verb] * (verb not in NO_VERBS)
            continue
        wrong += [f"{verb} {option}" for option in OPTION.findall(rest) if option not in known[verb]]
    assert wrong == []


def test_what_wakes_the_daemon() -> None:
    page = text_of(ROOT / "docs" / "daemon.md")
    table = page.partition("## What wakes it")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE))
    reasons = {held for name, held in vars(wake).items() if name.isupper() and isinstance(held, str)}
    assert told == reasons - {wake.STOP}


def test_the_lines_of_the_daemons_log() -> None:
    """Each that the page names is written somewhere."""
    page = text_of(ROOT / "docs" / "daemon.md").partition("## Logs")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z]+\.[a-z]+)`", page))
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "reconciler").rglob("*.py"))
    assert named
    assert [one for one in sorted(named) if f'"{one}"' not in source and not one.startswith("change.")] == []
