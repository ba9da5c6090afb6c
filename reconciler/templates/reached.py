"""Which parts of a template every conversation comes to, whatever stands in it. What is not certain is left out."""

from collections.abc import Iterable, Iterator

from jinja2 import nodes

_ENDINGS = (nodes.Break, nodes.Continue)


def always_reached(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Without recursion: a chain of `and` may be long."""
    own = not any(isinstance(one, nodes.Name) and (one.name, one.ctx) == ("messages", "store") for one in _all(tree))
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack += _next(node, own)


def _next(node: nodes.Node, own: bool) -> Iterable[nodes.Node]:
    match node:
        case nodes.If() | nodes.CondExpr():
            return [node.test]
        case nodes.And() | nodes.Or():
            return [node.left]
        case nodes.For(iter=nodes.Name(name="messages"), test=None) if own and not node.recursive:
            return [node.iter, *_until_it_may_end(node.body)]
        case nodes.For():
            return [node.iter]
        case nodes.Template() | nodes.Output() | nodes.Assign() | nodes.Expr():
            return node.iter_child_nodes()
    return [] if isinstance(node, nodes.Stmt) else node.iter_child_nodes()


def _until_it_may_end(body: list[nodes.Node]) -> Iterator[nodes.Node]:
    for one in body:
        if any(isinstance(part, _ENDINGS) for part in _all(one)):
            return
        yield one


def _all(node: nodes.Node) -> Iterator[nodes.Node]:
    """It and all in it, in no order. Jinja's own search calls itself for each level."""
    stack = [node]
    while stack:
        one = stack.pop()
        yield one
        stack += one.iter_child_nodes()
