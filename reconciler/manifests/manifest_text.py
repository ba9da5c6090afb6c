"""The text of a manifest before anything reads it as YAML: its size, its encoding, and characters that deceive."""

import re
from collections.abc import Iterable

from reconciler.domain.errors import Problem
from reconciler.domain.text.quoting import field_path

MAX_BYTES = 256 * 1024
MAX_STRAYS = 20  # lines with forbidden characters that are reported for one file

# C0 and C1 controls, marks that reorder or hide text, line and paragraph separators, byte order marks inside the
# text, non-characters, and the invisible "tag" letters that smuggle text past a reader.
_FORBIDDEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\U000e0000-\U000e007f"
)
_FORBIDDEN_RAW = re.compile(f"[{_FORBIDDEN}]|\r(?!\n)")
_FORBIDDEN_VALUE = re.compile(f"[{_FORBIDDEN}\r]")


class TextRefused(Exception):
    """The rest of the file is not worth reading."""

    def __init__(self, code: str, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.line, self.hint = code, line, hint

    def problem(self, file: str) -> Problem:
        return Problem(code=self.code, file=file, line=self.line, message=str(self), hint=self.hint)


def decode(data: bytes) -> str:
    """A byte order mark at the very start is Windows' habit and harmless."""
    if len(data) > MAX_BYTES:
        raise TextRefused("FileTooLarge", 0, f"expected at most {MAX_BYTES // 1024} KiB, got {len(data):,} bytes")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TextRefused("NotUtf8", 1, "expected UTF-8, got UTF-16", "save the file as UTF-8")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"expected UTF-8, got the byte 0x{data[error.start]:02x}"
        raise TextRefused("NotUtf8", line, message, "save the file as UTF-8") from None


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
    return Problem(
        code="ForbiddenCharacter",
        file=file,
        line=line,
        field=field_path(path),
        message=f"expected printable text, got the character U+{ord(character):04X}",
        hint="delete it: control, invisible and direction-changing characters are not allowed",
    )
