"""docs/manifests/ says what the types say: its tables come from them (UPDATE_GOLDEN=1), its examples are parsed."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.errors import BUG
from reconciler.manifests.parse import parse
from reconciler.manifests.parsed import Place
from reconciler.manifests.paths import ParseContext
from reconciler.manifests.schema import json_schema
from tests.manifests.test_parse import unrendered

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "manifests"
TABLE = re.compile(r"(<!-- fields -->\n).*?(<!-- /fields -->)", re.DOTALL)


def rows(schema: dict[str, Any], kind: str) -> Iterator[str]:
    """`| field | accepts | meaning |` for each field, from the outside in."""

    def resolve(part: dict[str, Any]) -> dict[str, Any]:
        return schema["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part

    def options(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for option in part.get("anyOf", part.get("oneOf", [part])):
            if option.get("type") != "null":
                yield from options(option) if {"anyOf", "oneOf"} & option.keys() else [resolve(option)]

    def walk(part: dict[str, Any], path: str) -> Iterator[str]:
        for name, inner in part.get("properties", {}).items():
            forms = list(options(inner))
            needed = " (required)" if name in part.get("required", []) else ""
            accepts = " or ".join(dict.fromkeys(accepted(form) for form in forms))
            yield f"| `{path}{name}`{needed} | {accepts} | {inner['description']} |"
            for form in forms:
                items = resolve(form.get("items", {}))
                yield from walk(form, f"{path}{name}.")
                yield from walk(items, f"{path}{name}[].")

    yield from ("| field | accepts | meaning |", "|---|---|---|")
    yield from dict.fromkeys(walk(schema["$defs"][kind], ""))


WORDS = {"string": "text", "boolean": "`true`, `false`", "integer": "whole number", "number": "number"}
LARGEST_SIZE = 1 << 60  # of a field that takes a size such as 20GiB, and bytes


def accepted(form: dict[str, Any]) -> str:
    match form:
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            return f"list of {'fields' if '$ref' in items else accepted(items)}"
        case {"type": "object"}:
            return "fields" if "properties" in form else "names and text"
        case {"type": kind, "maximum": high}:
            low = form.get("minimum", f"above {form.get('exclusiveMinimum')}")
            return size(low) if high == LARGEST_SIZE else f"{WORDS[kind]}, {low} to {high}"
    return WORDS[form["type"]]


def size(least: int) -> str:
    return f"size such as 20GiB, at least {least >> 20}MiB" if least else "size such as 20GiB"


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("model", "ModelManifest"),
        ("prompt-template", "PromptTemplateManifest"),
        ("prune-confirmation", "PruneConfirmationManifest"),
        ("policy", "PolicyManifest"),
        ("rollout", "RolloutManifest"),
    ],
)
def test_the_table_of_fields(page: str, kind: str) -> None:
    path = PAGES / f"{page}.md"
    text = path.read_text(encoding="utf-8")
    table = "".join(f"{row}\n" for row in rows(json_schema(), kind))
    current = TABLE.sub(lambda match: match[1] + table + match[2], text)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(current, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == current, "out of date: UPDATE_GOLDEN=1 pytest tests/manifests"


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_the_examples_are_valid(page: Path) -> None:
    around = ParseContext(
        base="/repo/manifests",
        prefix="manifests",
        checkout="/repo",
        roots=(),
        place=lambda path: Place(path=path, kind="folder"),
        read=lambda _: None,
        render=unrendered,
    )
    for example in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        parsed = parse({"a.yaml": example.encode()}, around)
        assert parsed.problems == ()
        assert parsed.models or parsed.confirmed or parsed.policies or parsed.rollouts


def test_every_code_is_explained() -> None:
    page = (PAGES / "problems.md").read_text(encoding="utf-8")
    package = ROOT / "reconciler"
    others = [
        package / "domain" / "sources" / "lfs_pointer.py",
        package / "sources" / "ignored.py",
        package / "sources" / "folder" / "ready_onnx.py",
        package / "sources" / "folder" / "onnx_graph.py",
        package / "sources" / "folder" / "compiled.py",
        package / "manifests" / "documents" / "foreign.py",
        package / "manifests" / "documents" / "reading.py",
        package / "manifests" / "golden" / "files.py",
        package / "manifests" / "ready" / "rules.py",
        package / "manifests" / "ready" / "task_rules.py",
        package / "manifests" / "rollouts" / "rules.py",
        package / "manifests" / "selectors" / "rules.py",
        package / "manifests" / "precisions" / "rules.py",
        package / "manifests" / "precisions" / "target_rules.py",
        package / "planner" / "precision_choice.py",
        package / "sources" / "manifests.py",
        package / "engine" / "model_against_source.py",
        package / "templates" / "lint.py",
    ]
    modules = [*(package / "manifests").glob("*.py"), *others]
    mine = [path for path in modules if path.stem in MODULES]
    codes = {code for path in mine for code in re.findall(r'"([A-Z][a-z]+[A-Z]?[a-zA-Z0-9]+)"', path.read_text())}
    codes.add(BUG)
    assert {path.stem for path in mine} == MODULES
    assert sorted(code for code in codes - NOT_CODES if f"`{code}`" not in page) == []
    assert sorted(code for code in re.findall(r"`([A-Z][A-Za-z0-9]+)`", page) if code not in codes) == []


MODULES = {
    *("ready_onnx", "onnx_graph", "compiled", "precision_choice", "task_rules", "target_rules"),
    *(
        "problems",
        "lock_file",
        "lfs_pointer",
        "source_schema",
        "declaration",
        "dependency_rules",
        "field_types",
        "foreign",
        "ignored",
        "loader",
        "manifest_text",
        "manifests",
        "model_rules",
        "parse",
        "paths",
    ),
    *("files", "reading", "rules"),
    *("gate_rules", "gate_schema", "policy_rules", "schema", "lint", "model_against_source", "template_rules"),
}
NOT_CODES = {
    *("Gate", "Golden"),
    "DeviceClass",
    "ModelSpec",
    *("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"),
    "Model",
    "Parsed",
    "PromptTemplate",
    "PruneConfirmation",
    "Policy",
    "Rollout",
    "RolloutSpec",
    "CPUExecutionProvider",
    "Null",
    "True",
    "False",
    "Kind",
    "NULL",
    "TRUE",
    "FALSE",
}
