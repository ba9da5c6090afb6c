"""`explain -o markdown`: one page on a model, made of what `explain -o json` gives."""

import json
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from reconciler.reports.model_sheet import sheet
from tests.at_rest import opened, serve
from tests.machine import TestMachine

CARD = """---
license: llama3.2
license_link: https://example.org/rules
base_model: [acme/base]
datasets: [acme/maps]
---
"""
POLICY = """apiVersion: reconciler.foundry/v1alpha1
kind: Policy
metadata: {name: house}
spec:
  licenses: {allow: [LicenseRef-llama3.2]}
  precisions: [int8]
  mode: warn
  signatures: {builds: true}
"""


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> Any:
    machine = TestMachine(folder=tmp_path_factory.mktemp("machine"))
    (machine.give_model(capitals) / "README.md").write_text(CARD)
    machine.declare(precisions="int4")
    serve(machine)
    (machine.manifests / "policy.yaml").write_text(POLICY)
    assert opened(machine).owner
    done = machine.run("explain", "capitals", "-o", "json")
    assert done.code == 0, done.err
    page = machine.run("explain", "capitals-int4", "-o", "markdown")
    assert page.out == sheet(done.json())  # one source for both
    return done.json()


def rows(page: str) -> dict[str, str]:
    """The first two cells of each row of a table."""
    cells = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {one[0]: one[1] for one in cells if len(one) == 2}


def test_what_an_auditor_looks_for(view: Any) -> None:
    page = sheet(view)
    found = rows(page)
    assert page.startswith("# capitals\n")
    assert found["architecture"] == "Qwen2ForCausalLM \\(qwen2\\)"
    assert found["source"].startswith("LicenseRef-llama3.2, https:")
    assert (found["made from"], found["data sets"]) == ("acme/base", "acme/maps")
    assert found["served"].startswith("capitals-int4:1 since 20")
    assert found["built by"] == "this machine"
    assert found["artifact"] == view["variants"][0]["artifact"]
    assert "olive-ai" in found["with"]
    assert "| fidelity | top1Agreement | 1 | " in page


def test_policies_with_file_and_line(view: Any) -> None:
    said = [(one["rule"], one["precision"], one["result"], one["policyLine"]) for one in view["model"]["policies"]]
    assert said == [
        ("licenses", "", "pass", 5),
        ("precisions", "int4", "warn", 6),
        ("signatures.builds", "int4", "pass", 8),
    ]
    place = r"house \(manifests/policy.yaml:6\)"
    assert f"| {place} | precisions int4 | warn | expected int8, got int4 |" in sheet(view)


@pytest.mark.parametrize(
    "text", ["a | b", "![x](https://example.com/x.png)", "<script>", "@all", "```\n# x", "\x1b[31m"]
)
def test_hostile_texts_stay_texts(view: Any, text: str) -> None:
    def everywhere(held: Any) -> Any:
        if isinstance(held, dict):
            return {key: everywhere(inner) for key, inner in held.items()}
        if isinstance(held, list):
            return [everywhere(one) for one in held]
        return text if isinstance(held, str) and held not in ("Successful", "Failed", "Inconclusive") else held

    page = sheet(everywhere(json.loads(json.dumps(view))))
    flat = [
        one
        for token in MarkdownIt("commonmark").enable("table").parse(page)
        for one in (token, *(token.children or []))
    ]
    kinds = {one.type for one in flat}
    assert not kinds & {"image", "link_open", "html_inline", "html_block", "fence", "code_inline"}
    assert "\x1b" not in page
    # Each row of a table has the cells of its head.
    tables = page.split("\n\n")
    for table in (one.splitlines() for one in tables if one.startswith("| ")):
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1, table


def test_what_is_not_here_is_named(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    page = machine.run("explain", "capitals", "-o", "markdown").out
    found = rows(page)
    assert (found["source"], found["artifact"]) == ("not known", "not built here")
    assert found["served"].startswith("no \\(NotServed")
    assert "No policy is about it." in page
    assert "- capitals-int4: its files: it is not built here\n" in page
    assert "- model: its licence: no README.md with a model card is here\n" in page
