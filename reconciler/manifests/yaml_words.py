"""What a YAML parser stumbled over, in the words of whoever wrote the file. Pure; both of PyYAML's parsers.

The parsers name their own inner states ("while scanning for the next token"). Here the few slips that people make are
told by what stands at the place; the rest keeps the parser's words.
"""

from typing import Any

from reconciler.domain.text.quoting import shown

_TAB = ("spaces, got a tab", "indent with spaces: YAML allows no tabs there")
_QUOTE = (
    "a closing quote for the one that begins here, got none",
    "it goes on to the end of the file: close it, or put the whole value in the other kind of quotes",
)
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


def syntax_words(error: Any, text: str) -> tuple[int, str, str]:
    """(line, message, hint) of a `yaml.MarkedYAMLError`; line 0 where it names none."""
    mark, said = error.problem_mark or error.context_mark, error.problem or ""
    if mark is None:
        return 0, f"expected YAML: {shown(said or 'not readable', 160)}", ""
    if error.context_mark is not None and "quoted scalar" in error.context and "end of stream" in said:
        mark = error.context_mark
        found: tuple[str, str] | None = _QUOTE
    else:
        found = _at_the_place(said, _at(text, mark)) or _unclosed(error) or _by_word(said)
    expected, hint = found or (f"YAML: {shown(said or 'not readable', 160)}", "")
    return mark.line + 1, f"expected {expected} (column {mark.column + 1})", hint


def _at_the_place(said: str, character: str) -> tuple[str, str] | None:
    if "tab" in said or ("start any token" in said and character == "\t"):
        return _TAB
    if "start any token" in said and character:
        return f"a value, got {character}", f"a value cannot begin with {character}: put it in quotes"
    return None


def _unclosed(error: Any) -> tuple[str, str] | None:
    mark = error.context_mark
    for kind, opened, closing in (("flow sequence", "[", "]"), ("flow mapping", "{", "}")):
        if mark is not None and kind in error.context:
            where = f"the {opened} of line {mark.line + 1}, column {mark.column + 1}"
            return f"`,` or `{closing}` for {where}, got something else", f"close it with {closing}"
    return None


def _by_word(said: str) -> tuple[str, str] | None:
    return next(((expected, hint) for sign, expected, hint in _WORDS if sign in said), None)


def _at(text: str, mark: Any) -> str:
    lines = text.split("\n", mark.line + 1)
    line = lines[mark.line] if mark.line < len(lines) else ""
    return line[mark.column : mark.column + 1]
