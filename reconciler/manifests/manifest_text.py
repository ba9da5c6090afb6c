"""The text of a manifest, and which files are read as one. What is refused before it is read as YAML: its size, its
encoding, characters that deceive. And a parser's syntax error in the words of an author: PyYAML names its own inner
states ("while scanning for the next token"); the few slips that people make are recognised by what stands at the place,
others keep the parser's words.
"""

import re
from collections.abc import Iterable
from typing import Any

from reconciler.domain.errors import InputRefused, Problem
from reconciler.domain.sources.lfs_pointer import refuse_pointer
from reconciler.domain.text.quoting import field_path, shown

MANIFEST_BYTES = 256 * 1024
MAX_STRAYS = 20  # lines with forbidden characters that are reported for one file

# C0 and C1 controls, marks that reorder or hide text, line and paragraph separators, byte order marks inside the
# text, non-characters, and the invisible "tag" letters that smuggle text past a reader.
_FORBIDDEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\U000e0000-\U000e007f"
)
_FORBIDDEN_RAW = re.compile(f"[{_FORBIDDEN}]|\r(?!\n)")
_FORBIDDEN_VALUE = re.compile(f"[{_FORBIDDEN}\r]")


def is_manifest(name: str) -> bool:
    """By its ending, in any case: on Windows, `Model.YAML` is what some editors write."""
    return name.lower().endswith((".yaml", ".yml"))


def decode(data: bytes) -> str:
    """A byte order mark at the very start is Windows' habit and harmless."""
    if len(data) > MANIFEST_BYTES:
        raise InputRefused("FileTooLarge", f"expected at most {MANIFEST_BYTES // 1024} KiB, got {len(data):,} bytes")
    refuse_pointer(data)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputRefused("NotUtf8", "expected UTF-8, got UTF-16", "save the file as UTF-8", 1)
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"expected UTF-8, got the byte 0x{data[error.start]:02x}"
        raise InputRefused("NotUtf8", message, "save the file as UTF-8", line) from None


def strays(file: str, text: str) -> list[Problem]:
    """One problem per line that holds a forbidden character, wherever it stands: comments deceive readers too."""
    found: dict[int, str] = {}
    for match in _FORBIDDEN_RAW.finditer(text):
        found.setdefault(text.count("\n", 0, match.start()) + 1, match.group())
        if len(found) == MAX_STRAYS:
            break
    return [_forbidden(file, line, (), character) for line, character in found.items()]


def without_strays(text: str) -> str:
    """Text that the parser accepts, so that one stray does not hide the other documents of its file."""
    return _FORBIDDEN_RAW.sub("\ufffd", text)


def escaped_stray(file: str, line: int, path: Iterable[str | int], value: str) -> Problem | None:
    """The problem of a value that was written with an escape such as `\\u202e`."""
    match = _FORBIDDEN_VALUE.search(value)
    return _forbidden(file, line, path, match.group()) if match else None


def _forbidden(file: str, line: int, path: Iterable[str | int], character: str) -> Problem:
    message = f"expected printable text, got the character U+{ord(character):04X}"
    hint = "delete it: control, invisible and direction-changing characters are not allowed"
    field = field_path(path)
    return Problem(code="ForbiddenCharacter", file=file, line=line, field=field, message=message, hint=hint)


_TAB = ("spaces, got a tab", "indent with spaces: YAML allows no tabs there")
_QUOTE = (
    "a closing quote for the one that begins here, got none",
    "it goes on to the end of the file: close it, or put the whole value in the other kind of quotes",
)
_CLOSING = {"[": "]", "{": "}"}
_COLON = (
    "one field on a line, got a second colon",
    "put a value that holds `: ` in quotes; a field of a group stands on a line of its own",
)
_FIELD_HINT = "fields of one group begin in the same column; a value that begins with a quote ends with that quote"
_WORDS = (  # what the parser says, what was expected and got, what to do
    ("mapping values are not allowed", *_COLON),
    ("expected key", "a field, got something else", _FIELD_HINT),
    ("expected <block end>", "a field, got something else", _FIELD_HINT),
    ("'-' indicator", "another `- item` of the list, got something else", _FIELD_HINT),
    ("could not find expected ':'", "`name: value`, got no colon", "write the colon and a space behind the name"),
    ("node content", "a value, got a bracket that closes nothing", "delete it, or open it first"),
    ("unknown escape character", "an escape such as \\n or \\\\, got another", "in single quotes a \\ is just a \\"),
)


def syntax_error(error: Any, text: str, bracket: Any) -> InputRefused:
    """What a `yaml.MarkedYAMLError`, of either of PyYAML's parsers, says about `text`. Line 0 where it names none.
    `bracket` is where the innermost one begins that is open there."""
    mark, complaint = error.problem_mark or error.context_mark, error.problem or ""
    own_words = f"YAML: {shown(complaint or 'not readable', 160)}"
    if mark is None:
        return InputRefused("YamlSyntax", f"expected {own_words}")
    if error.context_mark is not None and "quoted scalar" in error.context and "end of stream" in complaint:
        mark = error.context_mark
        expected, hint = _QUOTE
    elif bracket is not None and "node content" in complaint and _ends(text, mark):
        mark = bracket
        opened = text[mark.index]
        expected = f"a closing {_CLOSING[opened]} for the {opened} that begins here, got none"
        hint = f"it goes on to the end of the document: close it with {_CLOSING[opened]}"
    else:
        found = _by_character(complaint, _character(text, mark)) or _unclosed(error)
        known = ((expected, hint) for sign, expected, hint in _WORDS if sign in complaint)
        expected, hint = found or next(known, (own_words, ""))
    return InputRefused("YamlSyntax", f"expected {expected} (column {mark.column + 1})", hint, mark.line + 1)


def _by_character(complaint: str, character: str) -> tuple[str, str] | None:
    if "tab" in complaint or ("start any token" in complaint and character == "\t"):
        return _TAB
    if "start any token" in complaint and character:
        return f"a value, got {character}", f"a value cannot begin with {character}: put it in quotes"
    return None


def _unclosed(error: Any) -> tuple[str, str] | None:
    mark = error.context_mark
    for kind, opened, closing in (("flow sequence", "[", "]"), ("flow mapping", "{", "}")):
        if mark is not None and kind in error.context:
            where = f"the {opened} of line {mark.line + 1}, column {mark.column + 1}"
            return f"`,` or `{closing}` for {where}, got something else", f"close it with {closing}"
    return None


def _ends(text: str, mark: Any) -> bool:
    """Whether nothing of the document comes at `mark` or after it."""
    rest = text[mark.index :]
    return not rest.strip() or (mark.column == 0 and rest.startswith(("---", "...")))


def _character(text: str, mark: Any) -> str:
    lines = text.split("\n", mark.line + 1)
    line = lines[mark.line] if mark.line < len(lines) else ""
    return line[mark.column : mark.column + 1]
