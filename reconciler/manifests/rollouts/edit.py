"""Changes of a Rollout in its file, as a person would make them: a line or two, and everything else stays as it is,
with its comments. Pure: text in, text out. What cannot be changed so is refused, with the lines to write by hand."""

import re
from dataclasses import replace
from typing import Any

from reconciler.domain.errors import UsageError
from reconciler.domain.rollout import Abortion, Promotion, RolloutOptions
from reconciler.manifests.described import value_of
from reconciler.manifests.loader import YamlDocument, load
from reconciler.manifests.problems import accepted
from reconciler.manifests.schema import RolloutManifest

Item = Promotion | Abortion
KIND = "Rollout"
SPEC = ("spec",)


def with_flag(text: str, file: str, name: str, field: str, value: bool) -> str:
    """`spec.<field>: true`, or without that field."""
    wanted: RolloutOptions = replace(_options(text, file, name), **_change(field, value))
    return _checked(_with_flag(text, file, name, field, value), file, name, wanted, f"{field}: {str(value).lower()}")


def with_item(text: str, file: str, name: str, field: str, item: Item) -> str:
    """`item` as the first of the list `spec.<field>`; the same text where it is there already."""
    options = _options(text, file, name)
    if item in getattr(options, field):
        return text
    wanted: RolloutOptions = replace(options, **_change(field, (item, *getattr(options, field))))
    pairs = (f"{key}: {_quoted(value)}" for key, value in vars(item).items() if value)
    written = "{" + ", ".join(pairs) + "}"
    return _checked(_with_item(text, file, name, field, written), file, name, wanted, f"{field}: [{written}]")


def _change(field: str, value: object) -> dict[str, Any]:
    return {field: value}


def _options(text: str, file: str, name: str) -> RolloutOptions:
    """What the document says, its names apart."""
    manifest = accepted(_found(text, file, name)[0], file, RolloutManifest)
    if isinstance(manifest, tuple):
        raise UsageError(f"{manifest[0]}", hint="mend it first")
    return value_of(RolloutOptions, manifest.spec)


def _checked(text: str | None, file: str, name: str, wanted: RolloutOptions, by_hand: str) -> str:
    """Only what says exactly what was asked for."""
    try:
        if text is not None and _options(text, file, name) == wanted:
            return text
    except UsageError:
        pass
    message = f"{file}: Rollout {name} is written in a form that is not changed by a program"
    raise UsageError(message, hint=f"write it yourself, below spec: {by_hand}")


def _with_flag(text: str, file: str, name: str, field: str, value: bool) -> str | None:
    document, lines = _found(text, file, name)
    if (number := document.lines.get((*SPEC, field))) is not None:
        new = [_like(lines[number - 1], f"{field}: true")] if value else []
        return _joined(lines[: number - 1], new, lines[number:])
    return _below_spec(document, lines, f"{field}: true") if value else text


def _with_item(text: str, file: str, name: str, field: str, written: str) -> str | None:
    document, lines = _found(text, file, name)
    number = document.lines.get((*SPEC, field))
    if number is None:
        return _below_spec(document, lines, f"{field}:", f"  - {written}")
    head = lines[number - 1].rstrip("\r\n")
    first = re.match(r"\s*- ", "".join(lines[number : number + 1]))
    if first is not None and re.fullmatch(rf"\s*{field}:\s*(#.*)?", head):
        return _joined(lines[:number], [f"{first.group()}{written}\n"], lines[number:])
    if (flow := re.fullmatch(rf"(\s*{field}:\s*)\[\s*(.*)", head)) is not None:
        rest = flow.group(2)
        comma = "" if rest.startswith("]") else ", "
        return _joined(lines[: number - 1], [f"{flow.group(1)}[{written}{comma}{rest}\n"], lines[number:])
    return None


def _found(text: str, file: str, name: str) -> tuple[YamlDocument, list[str]]:
    for document in load(file, text.encode()).documents:
        data = document.data if isinstance(document.data, dict) else {}
        metadata = data.get("metadata")
        if data.get("kind") == KIND and isinstance(metadata, dict) and metadata.get("name") == name:
            return document, text.splitlines(keepends=True)
    raise UsageError(f"{file} has no Rollout {name}")


def _below_spec(document: YamlDocument, lines: list[str], *new: str) -> str | None:
    """As the first fields of spec, indented as its others. None for `spec: {...}`, which has no such place."""
    spec = document.lines[SPEC]
    inner = [number for path, number in document.lines.items() if len(path) == 2 and path[0] == "spec"]
    if not inner or min(inner) <= spec:
        return None
    return _joined(lines[:spec], [_like(lines[min(inner) - 1], one) for one in new], lines[spec:])


def _like(line: str, text: str) -> str:
    indent = re.match(r"\s*", line)
    return f"{indent.group() if indent else ''}{text}\n"


def _joined(*parts: list[str]) -> str:
    return "".join(line for part in parts for line in part)


def _quoted(text: str) -> str:
    return (
        text
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text)
        else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )
