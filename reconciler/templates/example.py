"""One fixed conversation, as a chat template writes it: so that a reviewer sees what a change of the template means.

The template may be a stranger's, so jinja2 only parses it and never renders: no Python is made of it. This module
walks the syntax tree itself, knows the words of the dialect and nothing else, and gives up (`NotRendered`) after
`STEPS` steps or `LONGEST` characters in any one value. So it ends, in little memory, whatever the template says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from reconciler.domain.bars import Fixture
from reconciler.domain.escape import one_line
from reconciler.templates.expressions import Expressions
from reconciler.templates.lint import MAX_BYTES, parsed_template
from reconciler.templates.values import LONGEST, Loop, Macro, NotRendered, Refusing, size_of, text_of

SYSTEM = {"role": "system", "content": "You are brief."}
CONVERSATION = (
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Italy?"},
)

_FAILURES = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


def example(template: str, tokens: Mapping[str, str]) -> str:
    """What the model reads. `tokens` are those that templates ask for by name: bos_token, eos_token. A template that
    refuses system messages is shown without. Raises NotRendered with the reason."""
    tree = _tree(template)
    try:
        return _rendered(tree, [SYSTEM, *CONVERSATION], tokens)
    except Refusing:
        return _rendered(tree, list(CONVERSATION), tokens)


def render(template: str, fixture: Fixture) -> str:
    """What the model reads of a conversation of its own. Raises NotRendered; Refusing when the template says no."""
    messages = [{"role": role, "content": content} for role, content in fixture.messages]
    return _rendered(_tree(template), messages, fixture.tokens, asked=fixture.asked)


def _tree(template: str) -> nodes.Template:
    if len(template.encode(errors="replace")) > MAX_BYTES:
        raise NotRendered("it is too long")
    try:
        return parsed_template(template)
    except TemplateSyntaxError as error:
        raise NotRendered(one_line(f"it is no Jinja: {error.message}")) from None
    except RecursionError:
        raise NotRendered("it is nested too deeply") from None
    except ValueError:  # a number of thousands of digits
        raise NotRendered("it has a number that is too large") from None


def _rendered(
    tree: nodes.Template, messages: list[dict[str, str]], tokens: Mapping[str, str], *, asked: bool = True
) -> str:
    given = {**tokens, "messages": [dict(one) for one in messages], "add_generation_prompt": asked}
    try:
        renderer = _Renderer(given)
        renderer.run(tree.body)
    except _FAILURES as error:
        raise NotRendered(one_line(f"it fails: {error}")) from None
    except RecursionError:
        raise NotRendered("it is nested too deeply") from None
    except (_Break, _Continue):
        raise NotRendered("it leaves a loop that it is not in") from None
    return renderer.written()


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Renderer(Expressions):
    """What is written goes into `_out`."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given)
        self._out: list[str] = []
        self._length = 0

    def written(self) -> str:
        return "".join(self._out)

    def run(self, body: list[nodes.Node]) -> None:
        for node in body:
            self.step()
            act = _STATEMENTS.get(type(node))
            if act is None:
                raise NotRendered(f"the tag {type(node).__name__.lower()} is not followed here")
            act(self, node)

    def write(self, text: str) -> None:
        self._length += len(text)
        if self._length > LONGEST:
            raise NotRendered(f"it writes more than {LONGEST:,} characters")
        self._out.append(text)

    def captured(self, body: list[nodes.Node]) -> str:
        held, self._out = self._out, []
        try:
            self.run(body)
            text = "".join(self._out)
            size_of(text)
            return text
        finally:
            self._out = held

    def output(self, node: nodes.Output) -> None:
        for one in node.nodes:
            self.write(one.data if isinstance(one, nodes.TemplateData) else text_of(self.value(one)))

    def branch(self, node: nodes.If) -> None:
        for one in (node, *node.elif_):
            if self.value(one.test):
                return self.run(one.body)
        return self.run(node.else_)

    def loop(self, node: nodes.For) -> None:
        if node.recursive:
            raise NotRendered("a recursive loop is not followed here")
        items = list(self.iterable(node.iter))
        if node.test is not None:
            items = [one for one in items if self.holds(node.test, node.target, one)]
        self._scopes.append({})  # for all rounds: the runtime keeps what one has set
        try:
            self._rounds(node, items)
        finally:
            self._scopes.pop()
        if not items:
            self.run(node.else_)

    def _rounds(self, node: nodes.For, items: list[Any]) -> None:
        for number, one in enumerate(items):
            self._scopes[-1]["loop"] = Loop(items, number)
            self.bind(node.target, one)
            try:
                self.run(node.body)
            except _Continue:
                continue
            except _Break:
                break

    def assign(self, node: nodes.Assign) -> None:
        self.bind(node.target, self.value(node.node))

    def assign_block(self, node: nodes.AssignBlock) -> None:
        text = self.captured(node.body)
        self.bind(node.target, self.filtered_by(node.filter, text) if node.filter else text)

    def filter_block(self, node: nodes.FilterBlock) -> None:
        self.write(text_of(self.filtered_by(node.filter, self.captured(node.body))))

    def macro(self, node: nodes.Macro) -> None:
        names = [argument.name for argument in node.args]
        defaults = [self.value(one) for one in node.defaults]
        self._scopes[-1][node.name] = Macro(names, defaults, node.body)

    def statement(self, node: nodes.ExprStmt) -> None:
        self.value(node.node)

    def leave(self, _: nodes.Break) -> None:
        raise _Break

    def go_on(self, _: nodes.Continue) -> None:
        raise _Continue


_STATEMENTS: dict[type, Any] = {
    nodes.Output: _Renderer.output,
    nodes.If: _Renderer.branch,
    nodes.For: _Renderer.loop,
    nodes.Assign: _Renderer.assign,
    nodes.AssignBlock: _Renderer.assign_block,
    nodes.FilterBlock: _Renderer.filter_block,
    nodes.Macro: _Renderer.macro,
    nodes.ExprStmt: _Renderer.statement,
    nodes.Break: _Renderer.leave,
    nodes.Continue: _Renderer.go_on,
}
