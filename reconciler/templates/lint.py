"""Findings about a Jinja chat template without rendering it: syntax, size, names and files that it reaches for, white
space.

The template is parsed, never rendered: jinja2 builds a syntax tree and nothing runs. Whether it gives the right prompt
is measured by the rehearsal, in the real runtime and under a time limit.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from reconciler.domain.text.quoting import shown
from reconciler.templates.dialect import foreign
from reconciler.templates.differences import Difference, spelt_differently, understood_differently

MAX_BYTES = 64 * 1024
MAX_NESTING = 20
MAX_REPEATS = 10_000

# Hugging Face trims these; the runtime that serves does not, so the same file gives two different prompts.
_TRIMMED_AFTER = re.compile(r"(?<!-)[%#]\}\n")
_TRIMMED_BEFORE = re.compile(r"^[ \t]+\{[%#](?![-+])", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing about a template. A `serious` one keeps it from being served; others are worth a warning."""

    code: str
    line: int
    message: str
    hint: str = ""
    serious: bool = True


# The same wherever it is noticed: how deep Python can follow is nobody's line.
_TOO_NESTED = Finding(
    code="TemplateTooNested",
    line=0,
    message=f"expected less nesting: at most {MAX_NESTING} blocks inside each other",
    hint="the runtime slows down sharply beyond that",
)


class _Generation(Extension):
    """`{% generation %}` marks the answer for training; Hugging Face and the runtime both pass its body through."""

    tags = {"generation"}  # noqa: RUF012  jinja2's own way to declare it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


EXTENSIONS: tuple[str | type[Extension], ...] = ("jinja2.ext.loopcontrols", _Generation)
_SYNTAX = Environment(extensions=EXTENSIONS, autoescape=False)


def template_bytes(text: str) -> bytes:
    """UTF-8 with plain line feeds: a byte order mark or a carriage return would become part of every
    prompt."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").encode()


def lint(data: bytes) -> tuple[Finding, ...]:
    """All findings about one template file; empty when there is nothing to say."""
    if unreadable := _unreadable(data):
        return (unreadable,)
    text = data.decode("utf-8")
    try:
        if spelt := _spelt(text):
            return spelt  # Python would warn of its escapes while it reads on
        tree = _SYNTAX.parse(text)
    except TemplateSyntaxError as error:
        message = f"expected Jinja: {shown(error.message or 'syntax error', 160)}"
        return (Finding(code="TemplateSyntax", line=error.lineno, message=message),)
    except RecursionError:
        return (Finding(code="TemplateTooNested", line=0, message="expected less nesting than Python can follow"),)
    except ValueError:  # Python reads no number of more than 4,300 digits
        return (Finding(code="TemplateSyntax", line=0, message="expected numbers of a few digits"),)
    return _judged(tree, text)


def _judged(tree: nodes.Template, text: str) -> tuple[Finding, ...]:
    reach = tuple(_reach(tree))
    if _TOO_NESTED in reach:
        return reach  # too deep to follow
    return (*reach, *_unknown(tree, text), *_differences(tree), *_white_space(text))


def differs_in_runtime(text: str) -> int:
    """The first line that the runtime understands differently than jinja2; 0 where none is known, or it is no Jinja."""
    return min((one.line for one in lint(text.encode(errors="replace")) if one.code == "TemplateDialect"), default=0)


def parsed_template(text: str) -> nodes.Template:
    """The syntax tree; nothing runs. Raises TemplateSyntaxError and RecursionError."""
    return _SYNTAX.parse(text)


def _unreadable(data: bytes) -> Finding | None:
    def refuse(message: str, offset: int = 0, hint: str = "") -> Finding:
        line = data.count(b"\n", 0, offset) + 1
        return Finding(code="TemplateUnreadable", line=line, message=message, hint=hint)

    if len(data) > MAX_BYTES:
        message = f"expected at most {MAX_BYTES // 1024} KiB, got {len(data):,} bytes"
        return Finding(code="TemplateTooLarge", line=0, message=message)
    if data.startswith(b"\xef\xbb\xbf"):
        return refuse("expected no byte order mark: it would become part of every prompt", 0, "save as UTF-8")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return refuse(f"expected UTF-8, got the byte 0x{data[error.start]:02x}", error.start, "save as UTF-8")
    if "\r" in text:
        hint = "save it with LF line ends; `*.jinja text eol=lf` in .gitattributes keeps them"
        return refuse(
            "expected LF line ends: a carriage return would become part of the prompt", data.index(b"\r"), hint
        )
    if "\x00" in text:
        return refuse("expected text, got a null byte", data.index(b"\x00"))
    return None


def _reach(tree: nodes.Template) -> Iterator[Finding]:
    """What the template touches that a chat template has no business with, and what it fails to touch."""
    seen: set[tuple[str, int]] = set()
    for finding in _findings(tree):
        if (finding.message, finding.line) not in seen:
            seen.add((finding.message, finding.line))
            yield finding
    if not _mentions_messages(tree):
        yield Finding(code="TemplateIgnoresMessages", line=0, message="expected a loop over `messages`, got none")


def _mentions_messages(tree: nodes.Template) -> bool:
    """`find_all` recurses, and a chain of a thousand `and` is deep."""
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, nodes.Name) and node.name == "messages":
            return True
        stack += node.iter_child_nodes()
    return False


def _findings(tree: nodes.Template) -> Iterator[Finding]:
    stack: list[tuple[nodes.Node, int, bool]] = [(tree, 0, False)]  # node, nesting of blocks, inside a counting loop
    while stack:
        node, nesting, counting = stack.pop()
        if message := _unsafe(node, counting):
            yield Finding(code="TemplateUnsafe", line=node.lineno, message=message)
        if isinstance(node, (nodes.If, nodes.For, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.With)):
            nesting += 1
            if nesting > MAX_NESTING:
                yield _TOO_NESTED
                return
        counting = counting or (isinstance(node, nodes.For) and _is_range(node.iter))
        stack += [(child, nesting, counting) for child in node.iter_child_nodes()]


def _unsafe(node: nodes.Node, counting: bool) -> str:
    """Why this node is refused, or nothing. The time limits of the runtime are the guard; this says it early."""
    match node:
        case nodes.Include() | nodes.Import() | nodes.FromImport() | nodes.Extends():  # guard: no include
            return "expected one self-contained file, got a tag that reads another"
        case nodes.Getattr(attr=str(name)) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            # guard: no dunder attributes
            return f"expected a plain attribute, got {shown(name)}" if name.startswith("__") else ""
        case nodes.Filter(name="attr"):
            return "expected a plain attribute, got the filter `attr`"
        case _:
            return _endless(node, counting)


def _endless(node: nodes.Node, counting: bool) -> str:
    match node:
        case nodes.Pow():  # guard: no powers
            return "expected no powers (**) in a chat template"
        case nodes.Mul() if _is_large(node.left) or _is_large(node.right):
            return f"expected to repeat at most {MAX_REPEATS:,} times"
        case nodes.Call() if _is_range(node) and any(_is_large(argument) for argument in node.args):
            return f"expected a range of at most {MAX_REPEATS:,}"
        case nodes.For() if counting and _is_range(node.iter):  # guard: no range in a range
            return "expected no range inside a loop over a range"
        case _:
            return ""


def _is_range(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "range"


def _is_large(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Const):
        return isinstance(node.value, int | float) and node.value > MAX_REPEATS
    return isinstance(node, nodes.Mul)


def _unknown(tree: nodes.Template, text: str) -> Iterator[Finding]:
    for word in foreign(tree):
        yield Finding(
            code="TemplateUnknown", line=word.line, message=word.message, hint=word.hint, serious=word.serious
        )
    for line, token, _ in _SYNTAX.lex(text):
        if token == "raw_begin":
            message = "expected a tag that the runtime knows, got raw"
            yield Finding(code="TemplateUnknown", line=line, message=message, hint="write {{ '{{' }}")


def _spelt(text: str) -> tuple[Finding, ...]:
    return tuple(map(_difference, spelt_differently(text, _SYNTAX)))


def _differences(tree: nodes.Template) -> Iterator[Finding]:
    """Each said once for a line."""
    return map(_difference, dict.fromkeys(understood_differently(tree)))


def _difference(one: Difference) -> Finding:
    return Finding(code="TemplateDialect", line=one.line, message=one.message, hint=one.hint, serious=one.serious)


def _white_space(text: str) -> Iterator[Finding]:
    """Trailing white space after the last tag is harmless: both strip one final newline."""
    matches = [*_TRIMMED_AFTER.finditer(text.removesuffix("\n")), *_TRIMMED_BEFORE.finditer(text)]
    if matches:
        first = min(match.start() for match in matches)
        yield Finding(
            code="TemplateWhitespace",
            line=text.count("\n", 0, first) + 1,
            message="expected `-` in tags beside white space: Hugging Face trims there, the runtime does not",
            hint="write {%- ... -%} so that both give the same prompt",
            serious=False,
        )
