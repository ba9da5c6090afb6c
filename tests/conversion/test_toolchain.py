"""The versions in every recipe are the versions that get installed."""

import tomllib
from pathlib import Path

from reconciler.backends.select import SERVING_TOOLS
from reconciler.conversion.toolchain import ADAPTER_TOOLS, CONVERSION_VERSION, TOOLS, tools_for

PYPROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"


def pinned(extra: str = "convert") -> dict[str, str]:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"][extra]
    return dict(entry.split("==") for entry in extras if "==" in entry)


def test_the_recipe_names_exactly_what_the_package_pins() -> None:
    ours = {"reconciler-conversion": CONVERSION_VERSION}
    assert tools_for("sha256:an-adapter") == pinned() | ours


def test_what_serves_is_what_the_package_pins() -> None:
    assert pinned("foundry") == SERVING_TOOLS


def test_the_merging_tool_is_no_part_of_a_recipe_without_an_adapter() -> None:
    assert tools_for(None) == TOOLS
    assert not ADAPTER_TOOLS.keys() & TOOLS.keys()
