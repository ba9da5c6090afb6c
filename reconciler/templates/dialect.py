"""What the Jinja of the runtime knows: much less than Python's, and it fails only when a request reaches the place.

The sets are measured with onnxruntime-genai 0.14.1 (tests/templates/test_chat_templates.py does it again); what Hugging
Face does not know is left out: one file should give one text. An unknown word is refused, except behind a
question for something that a request may bring or not (`tools`, or a name that the template asks `is defined`): such a
branch may never be reached, and model authors' own templates have them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import filters, nodes, tests

from reconciler.domain.text.quoting import nearest, shown
from reconciler.templates.reached import always_reached
from reconciler.templates.syntax import TemplateFinding, with_parents

FILTERS = frozenset(
    {
        *("count", "default", "dictsort", "e", "escape", "indent", "int", "items", "join", "last", "length", "list"),
        *("lower", "map", "reject", "rejectattr", "safe", "select", "selectattr", "string", "tojson", "trim"),
        "unique",
    }
)
TESTS = frozenset(
    {*("boolean", "defined", "float", "integer", "iterable", "mapping", "none", "number", "sequence"), "string"}
)
TESTS_BY_NAME = frozenset({"equalto", "=="})  # as text: selectattr('role', 'equalto', 'user')
FUNCTIONS = frozenset({"joiner", "namespace", "raise_exception", "range", "strftime_now"})
METHODS = frozenset(
    {
        *("append", "capitalize", "cycle", "endswith", "get", "insert", "items", "lstrip", "pop", "rstrip"),
        *("split", "startswith", "strip", "title"),
    }
)
_TAGS: dict[type[nodes.Node], str] = {
    nodes.CallBlock: "call",
    nodes.With: "with",
    nodes.Block: "block",
    nodes.ScopedEvalContextModifier: "autoescape",
}
TAGS = frozenset(_TAGS.values())
_NONE: frozenset[str] = frozenset()

_INSTEAD = dict.fromkeys(("eq", "equalto", "sameas"), "write `==`") | {
    "ne": "write `!=`",
    "in": "write `x in y`",
    "true": "write `== true`",
    "false": "write `== false`",
    "undefined": "write `is not defined`",
    "first": "write `[0]`",
    "d": "write `default`",
    "% of a text": "join texts with ~",
    "0 arguments": "write .split(' ')",
    "2 arguments": "write .split(x) with one argument",
}
_DOCUMENTED = "docs/manifests/prompt-template.md lists what it knows"
_OPTIONAL = frozenset({"tools", "documents"})


@dataclass(frozen=True, kw_only=True)
class _Word:
    """A word that a node uses, of those that are `known`. `common`: Python's Jinja would know it."""

    kind: str
    name: str
    known: frozenset[str]
    common: bool = True


def unknown_words(tree: nodes.Template) -> Iterator[TemplateFinding]:
    everything = list(_with_conditions(tree))
    own = {node.name for node, _ in everything if isinstance(node, nodes.Macro)}
    own |= {node.name for node, _ in everything if isinstance(node, nodes.Name) and node.ctx != "load"}
    optional, always = _asked_for(tree), {id(node) for node in always_reached(tree)}
    for node, conditions in everything:
        for word in _words(node, own):
            if word.name not in word.known:
                reached = not (word.common and any(id(condition) in optional for condition in conditions))
                yield _unknown(word, node.lineno, reached, always=word.kind == "tag" or id(node) in always)


def _unknown(word: _Word, line: int, reached: bool, *, always: bool) -> TemplateFinding:
    message = f"expected a {word.kind} that the runtime knows, got {shown(word.name)}"
    hint = _INSTEAD.get(word.name) or nearest(word.name, sorted(word.known)) or _DOCUMENTED
    if not reached:
        message += ": a request that gets here would fail"
    return TemplateFinding(
        code="TemplateUnknown", line=line, message=message, hint=hint, serious=reached, always=always
    )


def _with_conditions(tree: nodes.Template) -> Iterator[tuple[nodes.Node, tuple[nodes.Node, ...]]]:
    """Every node with the conditions that decide whether it is reached. Without recursion: a chain of `and` may be
    long."""
    stack: list[tuple[nodes.Node, tuple[nodes.Node, ...]]] = [(tree, ())]
    while stack:
        node, conditions = stack.pop()
        yield node, conditions
        for child in reversed(list(node.iter_child_nodes())):
            match node:
                case nodes.If(test=test) | nodes.CondExpr(test=test) if child is not test:
                    stack.append((child, (*conditions, test)))
                case nodes.And(left=left, right=right) if child is right:
                    stack.append((child, (*conditions, left)))
                case _:
                    stack.append((child, conditions))


def _asked_for(tree: nodes.Template) -> set[int]:
    """The nodes in which something optional is asked for, by identity."""
    everything = {id(node): (node, parent) for node, parent in with_parents(tree)}
    asked = _OPTIONAL | {
        node.node.name
        for node, _ in everything.values()
        if isinstance(node, nodes.Test) and node.name == "defined" and isinstance(node.node, nodes.Name)
    }
    marked: set[int] = set()
    for node, _ in everything.values():
        inside: nodes.Node | None = node if isinstance(node, nodes.Name) and node.name in asked else None
        while inside is not None and id(inside) not in marked:
            marked.add(id(inside))
            _, inside = everything[id(inside)]
    return marked


def _words(node: nodes.Node, own: set[str]) -> Iterator[_Word]:
    match node:
        case nodes.Filter() if node.name != "attr":  # refused for its reach already
            yield _filter(node.name)
            yield from _named(node)
        case nodes.Test():
            yield _Word(kind="test", name=node.name, known=TESTS, common=node.name in tests.TESTS)
        case nodes.Call(node=nodes.Name(name=str(name))) if name not in own:
            yield _Word(kind="function", name=name, known=FUNCTIONS)
        case nodes.Call(node=nodes.Getattr(attr="split")) if len(node.args) != 1:
            yield _Word(kind="way to call split", name=f"{len(node.args)} arguments", known=_NONE)
        case nodes.Mod(left=nodes.Const(value=str())):
            yield _Word(kind="operator", name="% of a text", known=_NONE)
        case nodes.Call(node=nodes.Getattr(attr=str(name))):
            common = any(hasattr(kind, name) for kind in (str, list, dict))
            yield _Word(kind="method", name=name, known=METHODS, common=common)
        case _ if type(node) in _TAGS:
            # Tags are read before anything is rendered: no branch hides them.
            yield _Word(kind="tag", name=_TAGS[type(node)], known=_NONE, common=False)
        case _:
            pass


def _filter(name: str) -> _Word:
    return _Word(kind="filter", name=name, known=FILTERS, common=name in filters.FILTERS)


def _named(node: nodes.Filter) -> Iterator[_Word]:
    """Filters and tests that are given by name: `map('trim')`, `selectattr('role', 'equalto', 'user')`."""
    match node.name, node.args:
        case "map", [nodes.Const(value=held), *_]:
            yield _filter(str(held))
        case ("select" | "reject", [nodes.Const(value=held), *_]) | (
            "selectattr" | "rejectattr",
            [_, nodes.Const(value=held), *_],
        ):
            yield _Word(kind="test by name", name=str(held), known=TESTS_BY_NAME, common=str(held) in tests.TESTS)
