"""docs/bad-inputs.md is what tests/bad_inputs/items.py says, and every test that it names is there.

`UPDATE_GOLDEN=1 pytest tests/bad_inputs/test_items.py` writes the page anew.
"""

import os
import re
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

from tests.bad_inputs.items import ITEMS, Item
from tests.bad_inputs.manifests import GROUPS
from tests.bad_inputs.test_model_folders import BAD
from tests.trust import record

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "bad-inputs.md"
TABLES = {"manifests": "test_manifests.py", "folders": "test_model_folders.py"}
HEAD = """\
# Bad inputs

Inputs from accidents or attackers, the code that is reported (one line with its place; no traceback; other objects go
on), and the test that shows it. Generated from `tests/bad_inputs/items.py`; a test checks that each test exists.
"""


@cache
def golden(group: str) -> dict[str, str]:
    """What is said about each case of a group of manifests."""
    text = (REPOSITORY / "tests" / "bad_inputs" / "golden" / f"{group}.txt").read_text(encoding="utf-8")
    parts = (part.partition("\n") for part in text.split("=== ")[1:])
    said = {name: said.rpartition("codes: ")[2].strip().split(", ") for name, _, said in parts}
    return {name: ", ".join(dict.fromkeys(codes)) for name, codes in said.items()}


def codes(item: Item) -> str:
    if item.codes:
        return item.codes
    (test,) = item.tests
    table, _, rest = test.partition("::")
    if table == "folders":
        return BAD[rest][1]
    group, _, case = rest.partition("::")
    return golden(group)[case]


def is_there(test: str) -> bool:
    file, _, rest = test.partition("::")
    if file == "folders":
        return rest in BAD
    if file == "manifests":
        group, _, case = rest.partition("::")
        return case in GROUPS[group] and bool(golden(group)[case])
    return f"def {rest}(" in (REPOSITORY / file).read_text(encoding="utf-8")


def target(test: str) -> str:
    """What pytest is to run for it."""
    for table, file in TABLES.items():
        if test.startswith(f"{table}::"):
            return f"tests/bad_inputs/{file}"
    return test


def shown(test: str) -> str:
    for table, file in TABLES.items():
        if test.startswith(f"{table}::"):
            return f"`{file}`: {test.rpartition('::')[2][:40]}"
    file, _, name = test.partition("::")
    return f"`{file.removeprefix('tests/')}`: {name.removeprefix('test_').replace('_', ' ')}"


def page() -> str:
    text = HEAD
    for group, items in groupby(ITEMS, lambda item: item.group):
        text += f"\n## {group}\n\n| what | code | test |\n|---|---|---|\n"
        for item in items:
            cells = (item.what, codes(item), "; ".join(map(shown, item.tests)))
            text += f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
    return text


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{item.group}: {item.what}"[:60])
def test_every_item_has_a_test_and_a_code(item: Item) -> None:
    assert item.tests
    assert all(map(is_there, item.tests))
    for code in re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", codes(item)):
        assert f'"{code}"' in source() or f"\nclass {code}(" in source(), code  # an error's code is its class's name


@cache
def source() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "reconciler").rglob("*.py"))


def test_the_page_is_what_the_table_says() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()
    tests = {test for item in ITEMS for test in item.tests}
    record(
        "inputs",
        f"{len(ITEMS)} of {len(ITEMS)} items with a test and a code",
        f"{len(tests)} tests: docs/bad-inputs.md",
    )
