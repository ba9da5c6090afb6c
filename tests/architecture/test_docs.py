"""Paths, modules, links and make targets that a page names exist. Each decision has a number of its own."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "reconciler"
DECISIONS = ROOT / "docs" / "decisions"
FOLDERS = ("packaging", "state", "requirements", "bench", "examples", "ci")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(path for name in FOLDERS for path in (ROOT / name).rglob("*.md")),
    ]
)
HISTORY = "superseded"  # a decision that no longer holds may name what is gone

PACKAGES = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
TREES = ["reconciler", "tests", "bench", "ci", "docs", "packaging", "requirements", "schema", *PACKAGES]
MANY = "|".join(TREES)
CODE = re.compile(r"```.*?```|`[^`\n]+`|^ {4}[^\n]*$", re.DOTALL | re.MULTILINE)
PATH = re.compile(rf"(?<![\w./<>-])((?:{MANY})/[\w./-]*[\w/])(?![\w*{{<])")
MODULE = re.compile(rf"(?<![\w./-])((?:reconciler|tests|bench|ci|{'|'.join(PACKAGES)})(?:\.\w+)+)(?![\w/])")
FILE = re.compile(r"(?<![\w./*-])(\w+\.py)\b")
TEST = re.compile(r"\b(tests/[\w/]+\.py)::(\w+)")
LINK = re.compile(r"\]\(([^)\s:#]+)(?:#[^)\s]*)?\)")
MAKE = re.compile(r"(?:^|`)make ([a-z][a-z-]*)\b", re.MULTILINE)

ELSEWHERE = {
    "reconciler.foundry": "labels, annotations, the API's group and the types of events",
    "reports.": "settings of a machine's configuration",
    "reconciler.lock.json": "the lock file of models from the hub",
    "reconciler.cards.json": "what their model cards say",
    "reconciler.facts.json": "what is known of them before they are fetched",
    "reconciler.json": "our mark in the cache of Foundry Local 0.5 to 1.x",
    "reconciler-service.xml": "Windows' service wrapper",
    "reconciler.exe": "the same",
    "sources/hub/": "below a machine's root",
    "sources/parsed.json": "a file of an earlier version, below a machine's root",
    "sources/<tree>": "below a machine's root",
    "reconciler/MACHINE": "the source of an event, the name of a commit status",
    "reconciler/config.yaml": "below a configuration folder",
    "reconciler/manifests": "the same",
    "reconciler/root": "below /var/lib",
    "fleet/manifests": "a folder of another repository",
    "templates/support.jinja": "a file of the example's repository",
    "state/": "below a machine's root",
    "x.py": "a name that a hostile converter might use",
}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_of(page: Path) -> str:
    return "\n".join(CODE.findall(text_of(page)))


def has_test(file: str, name: str) -> bool:
    return (ROOT / file).exists() and f"\ndef {name}(" in text_of(ROOT / file)


def is_elsewhere(name: str) -> bool:
    return any(name == one or name.startswith(one) for one in ELSEWHERE)


def path_is_there(name: str) -> bool:
    return any((base / name).exists() for base in (ROOT, PACKAGE, ROOT / "docs", ROOT / "tests"))


def module_is_there(name: str) -> bool:
    """`package.module`, or `package.module.name` where the module defines the name."""
    path = name.replace(".", "/")
    for base in (ROOT, PACKAGE):
        if (base / f"{path}.py").exists() or (base / path / "__init__.py").exists():
            return True
        module, _, last = path.rpartition("/")
        file = base / f"{module}.py"
        if file.exists() and re.search(rf"^(def|class) {last}\b|^{last}\b.*=", text_of(file), re.MULTILINE):
            return True
    return False


@cache
def file_names() -> frozenset[str]:
    return frozenset(
        path.name for tree in ("reconciler", "tests", "bench", "ci") for path in (ROOT / tree).rglob("*.py")
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text, code = text_of(page), code_of(page)
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    if HISTORY not in text[:300]:
        missing += [path for path in PATH.findall(code) if not (is_elsewhere(path) or path_is_there(path))]
        missing += [f"{file}::{name}" for file, name in TEST.findall(code) if not has_test(file, name)]
        missing += [name for name in MODULE.findall(code) if not (is_elsewhere(name) or module_is_there(name))]
        missing += [name for name in FILE.findall(code) if not (is_elsewhere(name) or name in file_names())]
    makefile = text_of(ROOT / "Makefile")
    missing += [f"make {one}" for one in MAKE.findall(code) if not re.search(rf"^{one}:", makefile, re.MULTILINE)]
    assert missing == []


def test_the_page_of_the_architecture_names_every_package() -> None:
    block = text_of(ROOT / "docs" / "architecture.md").split("    reconciler/\n")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^ {6}(\w+)/ ", block, re.MULTILINE)) == PACKAGES


def test_each_decision_has_one_number_that_its_title_repeats() -> None:
    pages = sorted(DECISIONS.glob("*.md"))
    assert [one for one, count in Counter(page.name[:4] for page in pages).items() if count > 1] == []
    assert [page.name for page in pages if not text_of(page).startswith(f"# {page.name[:4]}: ")] == []
    assert [page.name for page in pages if "\n**Status:** " not in text_of(page)] == []


def test_a_page_that_names_a_decision_means_one_that_is_there() -> None:
    numbers = {page.name[:4] for page in DECISIONS.glob("*.md")}
    sources = [*PAGES, *PACKAGE.rglob("*.py")]
    named = [one for path in sources for one in re.findall(r"(?:[Dd]ecisions? |decisions/)(\d+)\b", text_of(path))]
    assert [one for one in named if one.zfill(4) not in numbers] == []


def test_a_message_that_names_a_field_names_one_that_is_there() -> None:
    """In the form `(quarantineFor: off)`."""
    pages = ROOT / "schema" / "v1alpha1.json", ROOT / "docs" / "configuration.md"
    known = {name for page in pages for name in re.findall(r"[a-z]+[A-Z]\w*", text_of(page))}
    named = {
        (path.name, one)
        for path in PACKAGE.rglob("*.py")
        for one in re.findall(r"\(([a-z]+[A-Z]\w*)[):]", text_of(path))
    }
    assert {(file, one) for file, one in named if one not in known} == set()
