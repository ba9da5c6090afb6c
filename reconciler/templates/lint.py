"""Findings about a Jinja chat template without rendering it: syntax, size, names and files that it reaches for, white
space. Whether it gives the right prompt is measured by the rehearsal, in the real runtime and under a time limit."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile

from jinja2 import Environment, TemplateSyntaxError, nodes

from reconciler.domain.errors import InputRefused
from reconciler.domain.sources.lfs_pointer import refuse_pointer
from reconciler.domain.text.quoting import nearest, shown
from reconciler.templates.dialect import unknown_words
from reconciler.templates.differences import spelt_differently, understood_differently
from reconciler.templates.syntax import SYNTAX, TRIMMING, TemplateFinding, with_parents

TEMPLATE_BYTES = 64 * 1024
MAX_NESTING = 20
MAX_REPEATS = 10_000

_WHOLE = ("items", "values", "get", "pop")  # methods that give fields which are not named as such
_ASKING = (nodes.For, nodes.If, nodes.Test, nodes.Compare)  # nothing is written where they have a name

# The same wherever it is noticed: how deep Python can follow belongs to no line.
_TOO_NESTED = TemplateFinding(
    code="TemplateTooNested",
    line=0,
    message=f"expected less nesting: at most {MAX_NESTING} blocks inside each other",
    hint="the runtime slows down sharply beyond that",
)


def template_bytes(text: str) -> bytes:
    """UTF-8 with plain line feeds: a byte order mark or a carriage return would become part of every prompt."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").encode()


def lint(data: bytes) -> tuple[TemplateFinding, ...]:
    if unreadable := _unreadable(data):
        return (unreadable,)
    text = data.decode("utf-8")
    try:
        if misspelt := tuple(spelt_differently(text)):
            return misspelt  # Python would warn of its escapes while it reads on
        tree = SYNTAX.parse(text)
    except TemplateSyntaxError as error:
        message = f"expected Jinja: {shown(error.message or 'syntax error', 160)}"
        return (TemplateFinding(code="TemplateSyntax", line=error.lineno, message=message, always=True),)
    except RecursionError:
        message = "expected less nesting than Python can follow"
        return (TemplateFinding(code="TemplateTooNested", line=0, message=message),)
    except ValueError:  # Python reads no number of more than 4,300 digits
        return (TemplateFinding(code="TemplateSyntax", line=0, message="expected numbers of a few digits"),)
    return _judged(tree, text)


def _judged(tree: nodes.Template, text: str) -> tuple[TemplateFinding, ...]:
    refused = dict.fromkeys(_refused(tree))
    if _TOO_NESTED in refused:
        return tuple(refused)  # too deep to follow
    dialect = dict.fromkeys(understood_differently(tree))  # each once for a line
    return (*refused, *_without_contents(tree), *unknown_words(tree), *_raw(text), *dialect, *_white_space(text))


def differs_in_runtime(text: str) -> int:
    """The first line that the runtime understands differently than jinja2; 0 where none is known, or it is no Jinja."""
    return min((one.line for one in lint(text.encode(errors="replace")) if one.code == "TemplateDialect"), default=0)


@lru_cache(maxsize=64)  # many models of a fleet share one
def renders_nothing(text: str) -> TemplateFinding | None:
    """Why the runtime renders no conversation with it, where that is certain."""
    return next((one for one in lint(template_bytes(text)) if one.always), None)


_UNWANTED = (  # pattern, message, hint
    (rb"\A\xef\xbb\xbf", "expected no byte order mark: it would become part of every prompt", "save as UTF-8"),
    (
        rb"\r",
        "expected LF line ends: a carriage return would become part of the prompt",
        "save it with LF line ends; `*.jinja text eol=lf` in .gitattributes keeps them",
    ),
    (rb"\x00", "expected text, got a null byte", ""),
)


def _unreadable(data: bytes) -> TemplateFinding | None:
    if len(data) > TEMPLATE_BYTES:
        message = f"expected at most {TEMPLATE_BYTES // 1024} KiB, got {len(data):,} bytes"
        return TemplateFinding(code="TemplateTooLarge", line=0, message=message)
    try:
        refuse_pointer(data)
    except InputRefused as refused:
        return TemplateFinding(code=refused.code, line=0, message=str(refused), hint=refused.hint)
    unwanted = [
        (found.start(), message, hint) for pattern, message, hint in _UNWANTED if (found := re.search(pattern, data))
    ]
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        unwanted.append((error.start, f"expected UTF-8, got the byte 0x{data[error.start]:02x}", "save as UTF-8"))
    for offset, message, hint in sorted(unwanted)[:1]:  # what stands first in the file
        line = data.count(b"\n", 0, offset) + 1
        return TemplateFinding(code="TemplateUnreadable", line=line, message=message, hint=hint)
    return None


def _refused(tree: nodes.Template) -> Iterator[TemplateFinding]:
    """What a chat template has no reason to use, and a loop over the messages that is missing."""
    stack: list[tuple[nodes.Node, int, bool]] = [(tree, 0, False)]  # node, nesting of blocks, inside a counting loop
    asks_for_messages = False
    while stack:
        node, nesting, counting = stack.pop()
        asks_for_messages |= isinstance(node, nodes.Name) and node.name == "messages"
        if message := _unsafe(node, counting):
            yield TemplateFinding(code="TemplateUnsafe", line=node.lineno, message=message)
        if isinstance(node, nodes.If | nodes.For | nodes.Macro | nodes.CallBlock | nodes.FilterBlock | nodes.With):
            nesting += 1
            if nesting > MAX_NESTING:
                yield _TOO_NESTED
                return
        counting = counting or (isinstance(node, nodes.For) and _is_range(node.iter))
        stack += [(child, nesting, counting) for child in node.iter_child_nodes()]
    if not asks_for_messages:
        message = "expected a loop over `messages`, got none"
        yield TemplateFinding(code="TemplateIgnoresMessages", line=0, message=message)


def _without_contents(tree: nodes.Template) -> Iterator[TemplateFinding]:
    """A misspelt `content` of a message, where nothing else could write what was said: `content` is named nowhere, and
    of messages only fields by their names are used, so none is written whole or taken apart."""
    found = list(with_parents(tree))
    fields = [(one, field) for one, _ in found if (field := _field(one))]
    if any(field in ("content", *_WHOLE) for _, field in fields):  # as in nearly all
        return
    loops = [one for one, _ in found if isinstance(one, nodes.For) and isinstance(one.target, nodes.Name)]
    spoken = {str(one.target.name) for one in loops if _names(one.iter, "messages")}  # type: ignore[attr-defined]
    of_messages = [(one.lineno, field) for one, field in fields if getattr(one.node, "name", "") in spoken]  # type: ignore[attr-defined]
    misspelt = next((one for one in of_messages if nearest(one[1], ["content"])), None)
    # Texts but for the names of fields.
    texts = (
        one.value for one, parent in found if isinstance(one, nodes.Const) and getattr(parent, "arg", None) is not one
    )
    if misspelt is None or any("content" in text for text in texts if isinstance(text, str)):
        return
    bound = {"messages"} | {one.name for one, _ in found if isinstance(one, nodes.Name) and one.ctx != "load"}
    uses = ((one, parent) for one, parent in found if isinstance(one, nodes.Name) and one.ctx == "load")
    if all(_field(parent) or isinstance(parent, _ASKING) for one, parent in uses if parent and one.name in bound):
        line, name = misspelt
        message = f"expected the content of messages, got {shown(name)}: no prompt would have what was said"
        yield TemplateFinding(
            code="TemplateIgnoresMessages", line=line, message=message, hint=nearest(name, ["content"])
        )


def _names(tree: nodes.Node, name: str) -> bool:
    return any(isinstance(one, nodes.Name) and one.name == name for one, _ in with_parents(tree))


def _field(node: nodes.Node) -> str:
    match node:
        case nodes.Getattr(attr=str(name)) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            return name
        case _:
            return ""


def _unsafe(node: nodes.Node, counting: bool) -> str:
    """Why this node is refused, or nothing. The time limits of the runtime are the guard; this reports it early."""
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


def _raw(text: str) -> Iterator[TemplateFinding]:
    for line, token, _ in SYNTAX.lex(text):
        if token == "raw_begin":
            message = "expected a tag that the runtime knows, got raw"
            yield TemplateFinding(
                code="TemplateUnknown", line=line, message=message, hint="write {{ '{{' }}", always=True
            )


def _white_space(text: str) -> Iterator[TemplateFinding]:
    """Where the text between the tags is another one for Hugging Face, after what `-` takes away for both."""
    for (line, ours), (_, theirs) in zip(_between(SYNTAX, text), _between(TRIMMING, text), strict=False):
        if ours != theirs:
            alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False)))
            message = "expected `-` in tags beside white space: Hugging Face trims there, the runtime does not"
            hint = "write {%- ... -%} so that both give the same prompt"
            yield TemplateFinding(
                code="TemplateWhitespace",
                line=line + ours.count("\n", 0, alike),
                message=message,
                hint=hint,
                serious=False,
            )
            return


def _between(reader: Environment, text: str) -> Iterator[tuple[int, str]]:
    """The text before each tag and after the last, with its line; "" where there is none."""
    line, held = 1, ""
    for where, kind, token in reader.lex(text):
        if kind == "data":
            line, held = where, token
        elif kind.endswith("_begin"):
            yield line, held
            line, held = where, ""
    yield line, held
