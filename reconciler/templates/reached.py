"""Which parts of a template every conversation comes to, whatever stands in it. What is not certain is left out."""

from collections.abc import Iterable, Iterator

from jinja2 import nodes

_ENDINGS = (nodes.Break, nodes.Continue)


def always_reached(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Without recursion: a chain of `and` may be long."""
    own = not any(name.name == "messages" and name.ctx == "store" for name in tree.find_all(nodes.Name))
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
        if isinstance(one, _ENDINGS) or any(one.find_all(_ENDINGS)):
            return
        yield one
