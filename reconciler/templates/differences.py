"""What the runtime and Hugging Face both read, and understand differently: the prompt would change without a word.

Measured with onnxruntime-genai 0.14.1; tests/templates/test_chat_templates.py renders an example of each with both.
White space around tags is for templates.lint, words that the runtime does not know for templates.dialect.
"""

import re
from collections.abc import Iterable, Iterator

from jinja2 import nodes

from reconciler.domain.text.quoting import shown
from reconciler.templates.syntax import SYNTAX, TemplateFinding, with_parents

# All that the runtime understands after a backslash; of others it keeps the letter (`\x41` is x41).
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = frozenset("nrtbf\\'\"")

_ALWAYS_GIVEN = frozenset({"tools", "documents"})  # by Hugging Face, none when there are none
_TEXT_FIELDS = frozenset({"content", "reasoning_content", "text"})
_TEXT_FILTERS = frozenset({"escape", "indent", "join", "lower", "safe", "string", "tojson", "trim"})
_TEXT_METHODS = frozenset({"capitalize", "lstrip", "rstrip", "strip", "title"})

_Nodes = Iterable[tuple[nodes.Node, nodes.Node | None]]


def _differs(line: int, message: str, hint: str, *, serious: bool = False) -> TemplateFinding:
    return TemplateFinding(code="TemplateDialect", line=line, message=message, hint=hint, serious=serious)


def spelt_differently(text: str) -> Iterator[TemplateFinding]:
    """What the syntax tree does not show any more."""
    before = ""
    for line, kind, token in SYNTAX.lex(text):
        if kind == "string":
            yield from _escapes(line, token)
            if before == "string":
                message = "expected one text, got two beside each other: the runtime fails there"
                yield _differs(line, message, "join them with ~", serious=True)
        if token in {"{%+", "+%}"}:
            message = f"expected a tag that the runtime knows, got {token}"
            yield _differs(line, message, "leave out the +: the runtime trims nothing", serious=True)
        if kind != "whitespace":
            before = kind


def _escapes(line: int, token: str) -> Iterator[TemplateFinding]:
    for found in _ESCAPE.finditer(token):
        if found[1] not in _ESCAPES:
            message = f"expected an escape that the runtime knows, got {shown(found[0])}: it drops the backslash"
            where = line + token.count("\n", 0, found.start())
            yield _differs(where, message, "write the character itself", serious=True)


def understood_differently(tree: nodes.Template) -> Iterator[TemplateFinding]:
    everything = list(with_parents(tree))
    texts, conditions = _texts(everything), _conditions(everything)
    asked = {_key(node.node) for node, _ in everything if isinstance(node, nodes.Test) and node.name == "defined"}
    for node, _ in everything:
        message, hint = _difference(node, texts, asked)
        if message:
            yield _differs(node.lineno, message, hint)
        if isinstance(node, nodes.And) and id(node) not in conditions and not _is_bool(node):
            message = "`and` gives True or False in the runtime, in Python one of its sides"
            yield _differs(node.lineno, message, "write `x if y else z`")
        for name in _carried(node) if isinstance(node, nodes.For) else ():
            message = f"the runtime keeps {shown(name.name)} from one round of a loop to the next, Python does not"
            yield _differs(name.lineno, message, "set it at the beginning of each round")


def _difference(node: nodes.Node, texts: set[str], asked: set[str]) -> tuple[str, str]:
    """Message and hint; empty where both understand the same."""
    found = ("", "")
    match node:
        case nodes.Test(name="defined", node=nodes.Name(name=str(name))) if name in _ALWAYS_GIVEN:
            message = f"{name} is always defined for Hugging Face, for the runtime only if it is given"
            found = (message, f"write `if {name}`")
        case nodes.Test(name="none") if (key := _key(node.node)) and key not in asked | _ALWAYS_GIVEN:
            found = ("what is not given is none for the runtime, not for Hugging Face", "ask `is defined` first")
        case nodes.Compare(ops=[_, _, *_]):
            found = ("the runtime understands no chained comparisons", "write `a < b and b < c`")
        case nodes.Compare(ops=[nodes.Operand(op="in" | "notin", expr=right)]) if _is_text(right, texts):
            found = ("`in` finds nothing in a text in the runtime", "write `text.split('x') | length > 1`")
        case nodes.Getitem(arg=nodes.Const(value=int()) | nodes.Neg()) if _is_text(node.node, texts):
            found = ("one letter of a text is empty in the runtime", "write a slice: [0:1]")
        case nodes.Filter(name="selectattr" | "rejectattr", args=[_]):
            found = ("the runtime chooses all where no test is given", "write selectattr('x', 'equalto', ...)")
        case nodes.Getattr(node=nodes.Call(node=nodes.Name())) | nodes.Getitem(node=nodes.Call(node=nodes.Name())):
            found = ("the runtime reads nothing after f(...), and fails", "give it a name first: set x = f(...)")
        case nodes.Div():
            found = ("the runtime divides whole numbers without a rest", "write //")
    return found


def _conditions(everything: _Nodes) -> set[int]:
    """The nodes of which only counts whether they hold, by identity. Parents come before their children."""
    found: set[int] = set()
    for node, parent in everything:
        match parent:
            case nodes.If(test=test) | nodes.CondExpr(test=test) | nodes.For(test=test) | nodes.And(left=test):
                counts = node is test
            case _:
                counts = isinstance(parent, nodes.Not)
        if counts or (isinstance(parent, nodes.And | nodes.Or) and id(parent) in found):
            found.add(id(node))
    return found


def _is_bool(node: nodes.Node) -> bool:
    """True or False in both. Without recursion: a chain of `and` may be long."""
    stack = [node]
    while stack:
        match stack.pop():
            case nodes.And(left=left, right=right) | nodes.Or(left=left, right=right):
                stack += [left, right]
            case nodes.Compare() | nodes.Not() | nodes.Test() | nodes.Const(value=bool()):
                pass
            case _:
                return False
    return True


def _key(node: nodes.Node) -> str:
    """What is asked about: a name that a request may give, or a field of something."""
    match node:
        case nodes.Name(name=str(key)) | nodes.Getattr(attr=str(key)) | nodes.Getitem(arg=nodes.Const(value=str(key))):
            return key if key != "content" else ""
    return ""


def _texts(everything: _Nodes) -> set[str]:
    """Names that are set to a text somewhere."""
    found: set[str] = set()
    for node, _ in everything:
        match node:
            case nodes.Assign(target=nodes.Name(name=str(name))) if _is_text(node.node, found):
                found.add(name)
    return found


def _is_text(node: nodes.Node, texts: set[str]) -> bool:
    """As far as the template shows it."""
    match node:
        case nodes.Const(value=str()) | nodes.Concat():
            return True
        case nodes.Name(name=str(name)):
            return name in texts
        case nodes.Getattr(attr=str(key)) | nodes.Getitem(arg=nodes.Const(value=str(key))):
            return key in _TEXT_FIELDS
        case nodes.Filter(name=str(name)):
            return name in _TEXT_FILTERS
        case nodes.Call(node=nodes.Getattr(attr=str(name))):
            return name in _TEXT_METHODS
        case _:
            return False


def _carried(loop: nodes.For) -> Iterator[nodes.Name]:
    """Names that a round of the loop reads before it has set them, though it sets them somewhere."""
    names = {node.name for node in _stores(loop.body)}
    known = {node.name for node, _ in with_parents(loop.target) if isinstance(node, nodes.Name)}
    if names - known:
        yield from _round(loop.body, names, known)


def _round(body: Iterable[nodes.Node], names: set[str], known: set[str]) -> Iterator[nodes.Name]:
    """`known` is what is set by now; it grows."""
    for node in body:
        match node:
            case nodes.Assign() | nodes.AssignBlock():
                read = [node.node] if isinstance(node, nodes.Assign) else node.body
                yield from _reads(read, names, known)
                known |= {name.name for name in _stores([node])}
            case nodes.If():
                yield from _branches(node, names, known)
            case nodes.Macro():
                pass  # its names are its own
            case _:
                yield from _reads([node], names, known)


def _branches(node: nodes.If, names: set[str], known: set[str]) -> Iterator[nodes.Name]:
    """Set afterwards is what every branch sets."""
    for branch in (node, *node.elif_):
        yield from _reads([branch.test], names, known)
    after = []
    for body in (node.body, *(branch.body for branch in node.elif_), node.else_):
        own = set(known)
        yield from _round(body, names, own)
        after.append(own)
    known |= set.intersection(*after)


def _reads(many: Iterable[nodes.Node], names: set[str], known: set[str]) -> Iterator[nodes.Name]:
    for node in (node for one in many for node, _ in with_parents(one)):
        if isinstance(node, nodes.Name) and node.ctx == "load" and node.name in names - known:
            yield node


def _stores(body: Iterable[nodes.Node]) -> Iterator[nodes.Name]:
    """Names that are set here, but not in a loop inside: those are its own."""
    stack = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, nodes.Name) and node.ctx == "store":
            yield node
        if not isinstance(node, nodes.For | nodes.Macro):
            stack += node.iter_child_nodes()
