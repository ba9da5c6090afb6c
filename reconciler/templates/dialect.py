"""What the Jinja of the runtime knows: much less than Python's, and it says so only when a request reaches the place.

The sets are measured with onnxruntime-genai 0.14.1 (tests/templates/test_chat_templates.py does it again); what Hugging
Face does not know is left out: one file should give one text. An unknown word is refused, except behind a
question for something that a request may bring or not (`tools`, or a name that the template asks `is defined`): such a
branch may never be reached, and model authors' own templates have them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import filters, nodes, tests

from reconciler.domain.text.quoting import nearest, shown

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
class Foreign:
    """One word that the runtime does not know. Not `serious`: it may never get there."""

    line: int
    message: str
    hint: str
    serious: bool


@dataclass(frozen=True, kw_only=True)
class _Word:
    """A word that a node uses, of those that are `known`. `common`: Python's Jinja would know it."""

    kind: str
    name: str
    known: frozenset[str]
    common: bool


def foreign(tree: nodes.Template) -> Iterator[Foreign]:
    """Every word of the template that the runtime does not know."""
    everything = list(_nodes(tree))
    own = {node.name for node, _ in everything if isinstance(node, nodes.Macro)}
    own |= {node.name for node, _ in everything if isinstance(node, nodes.Name) and node.ctx != "load"}
    questions = _questions(everything)
    for node, guards in everything:
        for word in _words(node, own):
            if word.name not in word.known:
                reached = not (word.common and any(id(guard) in questions for guard in guards))
                yield _foreign(word, node.lineno, reached)


def _foreign(word: _Word, line: int, reached: bool) -> Foreign:
    message = f"expected a {word.kind} that the runtime knows, got {shown(word.name)}"
    return Foreign(
        line=line,
        message=message if reached else f"{message}: a request that gets here would fail",
        hint=_INSTEAD.get(word.name) or nearest(word.name, sorted(word.known)) or _DOCUMENTED,
        serious=reached,
    )


def _nodes(tree: nodes.Template) -> Iterator[tuple[nodes.Node, tuple[nodes.Node, ...]]]:
    """Every node with the conditions that it stands behind. Without recursion: a chain of `and` may be long."""
    stack: list[tuple[nodes.Node, tuple[nodes.Node, ...]]] = [(tree, ())]
    while stack:
        node, guards = stack.pop()
        yield node, guards
        for child in reversed(list(node.iter_child_nodes())):
            guard = _guard(node, child)
            stack.append((child, (*guards, guard) if guard else guards))


def _guard(node: nodes.Node, child: nodes.Node) -> nodes.Node | None:
    """The condition that decides, in `node`, whether `child` is reached."""
    match node:
        case nodes.If() | nodes.CondExpr():
            return node.test if child is not node.test else None
        case nodes.And():
            return node.left if child is node.right else None
        case _:
            return None


def _questions(everything: list[tuple[nodes.Node, tuple[nodes.Node, ...]]]) -> set[int]:
    """The nodes in which something optional is asked for, by identity."""
    parents = {id(child): node for node, _ in everything for child in node.iter_child_nodes()}
    asked = _OPTIONAL | {
        node.node.name
        for node, _ in everything
        if isinstance(node, nodes.Test) and node.name == "defined" and isinstance(node.node, nodes.Name)
    }
    marked: set[int] = set()
    for node, _ in everything:
        if isinstance(node, nodes.Name) and node.name in asked:
            inside: nodes.Node | None = node
            while inside is not None and id(inside) not in marked:
                marked.add(id(inside))
                inside = parents.get(id(inside))
    return marked


def _words(node: nodes.Node, own: set[str]) -> Iterator[_Word]:
    match node:
        case nodes.Filter() if node.name != "attr":  # refused for its reach already
            yield _Word(kind="filter", name=node.name, known=FILTERS, common=node.name in filters.FILTERS)
            yield from _named(node)
        case nodes.Test():
            yield _Word(kind="test", name=node.name, known=TESTS, common=node.name in tests.TESTS)
        case nodes.Call(node=nodes.Name(name=str(name))) if name not in own:
            yield _Word(kind="function", name=name, known=FUNCTIONS, common=True)
        case nodes.Call(node=nodes.Getattr(attr="split")) if len(node.args) != 1:
            yield _Word(kind="way to call split", name=f"{len(node.args)} arguments", known=frozenset(), common=True)
        case nodes.Mod(left=nodes.Const(value=str())):
            yield _Word(kind="operator", name="% of a text", known=frozenset(), common=True)
        case nodes.Call(node=nodes.Getattr(attr=str(name))):
            common = any(hasattr(kind, name) for kind in (str, list, dict))
            yield _Word(kind="method", name=name, known=METHODS, common=common)
        case _ if type(node) in _TAGS:
            # Tags are read before anything is rendered: no branch hides them.
            yield _Word(kind="tag", name=_TAGS[type(node)], known=frozenset(), common=False)
        case _:
            pass


def _named(node: nodes.Filter) -> Iterator[_Word]:
    """Filters and tests that are given by name: `map('trim')`, `selectattr('role', 'equalto', 'user')`."""
    at = {"map": 0, "select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}.get(node.name)
    if at is None or len(node.args) <= at or not isinstance(given := node.args[at], nodes.Const):
        return
    name = str(given.value)
    if node.name == "map":
        yield _Word(kind="filter", name=name, known=FILTERS, common=name in filters.FILTERS)
    else:
        yield _Word(kind="test by name", name=name, known=TESTS_BY_NAME, common=name in tests.TESTS)
