"""Parses Jinja chat templates into syntax trees, and defines `TemplateFinding`, which each check of a template reports.
Nothing is rendered here: no part of a template runs."""

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser


@dataclass(frozen=True, kw_only=True)
class TemplateFinding:
    """A `serious` one keeps the template from being served; others are worth a warning: it depends on the conversation,
    on the request, or on what the author means. `always`: the runtime renders no conversation at all."""

    code: str
    line: int
    message: str
    hint: str = ""
    serious: bool = True
    always: bool = False


class _Generation(Extension):
    """`{% generation %}` marks the answer for training; Hugging Face and the runtime both pass its body through."""

    tags = {"generation"}  # noqa: RUF012  jinja2's own way to declare it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


EXTENSIONS: tuple[str | type[Extension], ...] = ("jinja2.ext.loopcontrols", _Generation)
SYNTAX = Environment(extensions=EXTENSIONS, autoescape=False)
# As Hugging Face reads the same file.
TRIMMING = Environment(extensions=EXTENSIONS, autoescape=False, trim_blocks=True, lstrip_blocks=True)


def with_parents(node: nodes.Node) -> Iterator[tuple[nodes.Node, nodes.Node | None]]:
    """The node and every node below it, in order, each with its parent. Not jinja2's `find_all`, which recurses: a
    chain of a thousand `and` is deep."""
    stack: list[tuple[nodes.Node, nodes.Node | None]] = [(node, None)]
    while stack:
        one, parent = stack.pop()
        yield one, parent
        stack += [(child, one) for child in reversed(list(one.iter_child_nodes()))]
