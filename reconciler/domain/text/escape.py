"""Foreign text, made safe for where we show it. Pure."""

import re

# Characters that reorder, hide or end text (bidi controls, zero width, BOM, line separators), and what names that are
# no UTF-8 are decoded to. As the inside of a regular expression's brackets: a set of them took 2 ms to make.
_HIDDEN = "\u2028-\u202e\u2066-\u2069\u200b-\u200f\ufeff\ud800-\udfff"

_ACTED_ON = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_HIDDEN}]")

_WWW = re.compile(r"(www)\.", re.IGNORECASE)  # GitHub makes a link of what begins so, without any scheme

LONGEST_MESSAGE = 300  # characters

_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]()#+!|~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def for_terminal(text: str) -> str:
    """Control characters (ESC, bells, bidi) and lone surrogates, which no output can encode, shown as `\\x1b`;
    newlines and tabs stay."""
    return _ACTED_ON.sub(_visible, text)  # guard: control characters are shown


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def for_json(text: str) -> str:
    """A JSON document that means the same and that a terminal shows as it is: such characters stand only in strings."""
    return _ACTED_ON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # guard: JSON acts on no terminal


def one_line(text: str, limit: int = LONGEST_MESSAGE) -> str:
    """For a message that quotes others: it ends, and begins no line with `::`, a command of a workflow."""
    line = " ".join(for_terminal(text.lstrip()[: 4 * limit]).split()).lstrip(":")
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def for_markdown(text: str) -> str:
    """One line that renders as itself: no markup, no mention, no link, no html."""
    line = " ".join(for_terminal(text).split())
    # guard: no mention
    unlinked = _WWW.sub("\\1\u2060.", line.replace("@", "@\u2060").replace("://", ":\u2060//"))
    return unlinked.translate(_MARKDOWN)  # guard: markup is text


def for_annotation(text: str) -> str:
    """The message of a GitHub workflow command: it cannot end the line or begin another command."""
    # guard: an annotation stays one line
    return for_terminal(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def for_annotation_property(text: str) -> str:
    return for_annotation(text).replace(":", "%3A").replace(",", "%2C")
