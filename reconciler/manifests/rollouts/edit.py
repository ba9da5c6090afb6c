"""Changes of a Rollout in its file, as a person would make them: a line or two, and everything else stays as it is,
with its comments. Pure: text in, text out. What cannot be changed so is refused, with the lines to write by hand."""

import re

from reconciler.domain.errors import UsageError
from reconciler.manifests.loader import YamlDocument, load

KIND = "Rollout"
SPEC = ("spec",)


def with_flag(text: str, file: str, name: str, field: str, value: bool) -> str:
    """`spec.<field>: true`, or without that field."""
    document, lines = _found(text, file, name)
    if (number := document.lines.get((*SPEC, field))) is not None:
        if not re.fullmatch(rf"\s*{field}:\s*(true|false)\s*(#.*)?", lines[number - 1].rstrip("\r\n")):
            raise _by_hand(file, name, f"{field}: {str(value).lower()}")
        return _joined(
            lines[: number - 1], [_like(lines[number - 1], f"{field}: true")] if value else [], lines[number:]
        )
    if not value:
        return text
    at, indent = _below_spec(document, lines, file, name, f"{field}: true")
    return _joined(lines[:at], [indent + f"{field}: true\n"], lines[at:])


def with_item(text: str, file: str, name: str, field: str, item: dict[str, str]) -> str:
    """`item` as the first of the list `spec.<field>`."""
    document, lines = _found(text, file, name)
    written = "{" + ", ".join(f"{key}: {_quoted(value)}" for key, value in item.items()) + "}"
    number = document.lines.get((*SPEC, field))
    if number is None:
        at, indent = _below_spec(document, lines, file, name, f"{field}: [{written}]")
        return _joined(lines[:at], [f"{indent}{field}:\n", f"{indent}  - {written}\n"], lines[at:])
    head = lines[number - 1].rstrip("\r\n")
    if re.fullmatch(rf"\s*{field}:\s*(#.*)?", head) and (
        first := re.match(r"\s*- ", "".join(lines[number : number + 1]))
    ):
        return _joined(lines[:number], [f"{first.group()}{written}\n"], lines[number:])
    if (flow := re.fullmatch(rf"(\s*{field}:\s*)\[\s*(.*)", head)) is not None:
        rest = flow.group(2)
        comma = "" if rest.startswith("]") else ", "
        return _joined(lines[: number - 1], [f"{flow.group(1)}[{written}{comma}{rest}\n"], lines[number:])
    raise _by_hand(file, name, f"{field}: [{written}]")


def _found(text: str, file: str, name: str) -> tuple[YamlDocument, list[str]]:
    for document in load(file, text.encode()).documents:
        data = document.data if isinstance(document.data, dict) else {}
        metadata = data.get("metadata")
        if data.get("kind") == KIND and isinstance(metadata, dict) and metadata.get("name") == name:
            return document, text.splitlines(keepends=True)
    raise UsageError(f"{file} has no Rollout {name}")


def _below_spec(document: YamlDocument, lines: list[str], file: str, name: str, by_hand: str) -> tuple[int, str]:
    """Where a first field of spec goes, and how far it is indented. `spec: {...}` has no such place."""
    spec = document.lines[SPEC]
    inner = [number for path, number in document.lines.items() if len(path) == 2 and path[0] == "spec"]
    if not inner or min(inner) <= spec or not re.fullmatch(r"\s*spec:\s*(#.*)?", lines[spec - 1].rstrip("\r\n")):
        raise _by_hand(file, name, by_hand)
    indent = re.match(r"\s*", lines[min(inner) - 1])
    return spec, indent.group() if indent else ""


def _by_hand(file: str, name: str, line: str) -> UsageError:
    message = f"{file}: Rollout {name} is written in a form that is not changed by a program"
    return UsageError(message, hint=f"write it yourself, below spec: {line}")


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
