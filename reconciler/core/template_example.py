"""One fixed conversation, as a chat template writes it: so that a reviewer sees what a change of the template means.

The template may be a stranger's, so jinja2 only parses it and never renders: no Python is made of it. This module
walks the syntax tree itself, knows the words of the dialect and nothing else, and gives up (`NotRendered`) after
`STEPS` steps or `LONGEST` characters in any one value. So it ends, in little memory, whatever the template says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import TemplateSyntaxError, nodes

from reconciler.core.escape import one_line
from reconciler.core.template_lint import MAX_BYTES, parsed_template
from reconciler.core.template_values import (
    LONGEST,
    UNDEFINED,
    Loop,
    Macro,
    Namespace,
    NotRendered,
    Refusing,
    checked,
    compared,
    item,
    size_of,
    text_of,
)
from reconciler.core.template_words import FILTERS, METHODS, TESTS

if TYPE_CHECKING:
    from collections.abc import Mapping

STEPS = 50_000
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
    if len(template.encode(errors="replace")) > MAX_BYTES:
        raise NotRendered("it is too long")
    try:
        tree = parsed_template(template)
    except TemplateSyntaxError as error:
        raise NotRendered(one_line(f"it is no Jinja: {error.message}")) from None
    except RecursionError:
        raise NotRendered("it is nested too deeply") from None
    except ValueError:  # a number of thousands of digits
        raise NotRendered("it has a number that is too large") from None
    try:
        return _rendered(tree, [SYSTEM, *CONVERSATION], tokens)
    except Refusing:
        return _rendered(tree, list(CONVERSATION), tokens)


def _rendered(tree: nodes.Template, messages: list[dict[str, str]], tokens: Mapping[str, str]) -> str:
    given = {**tokens, "messages": [dict(one) for one in messages], "add_generation_prompt": True}
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


class _Renderer:
    """`_scopes` are names, innermost last; only loops and macros open one."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._scopes: list[dict[str, Any]] = [given]
        self._out: list[str] = []
        self._length = 0
        self._left = STEPS

    def written(self) -> str:
        return "".join(self._out)

    def run(self, body: list[nodes.Node]) -> None:
        for node in body:
            self._step()
            act = _STATEMENTS.get(type(node))
            if act is None:
                raise NotRendered(f"the tag {type(node).__name__.lower()} is not followed here")
            act(self, node)

    def value(self, node: nodes.Node) -> Any:
        self._step()
        act = _EXPRESSIONS.get(type(node))
        if act is None:
            raise NotRendered(f"{type(node).__name__} is not followed here")
        held = act(self, node)
        self._step(size_of(held) // 20)  # whoever handles large values makes fewer steps
        return held

    def _step(self, more: int = 0) -> None:
        self._left -= 1 + more
        if self._left < 0:
            raise NotRendered(f"it takes more than {STEPS:,} steps")

    def write(self, text: str) -> None:
        self._length += len(text)
        if self._length > LONGEST:
            raise NotRendered(f"it writes more than {LONGEST:,} characters")
        self._out.append(text)

    # Statements

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
        items = list(self._iterable(node.iter))
        if node.test is not None:
            items = [one for one in items if self._holds(node.test, node.target, one)]
        for number, one in enumerate(items):
            self._scopes.append({"loop": Loop(items, number)})
            try:
                self._bind(node.target, one)
                self.run(node.body)
            except _Continue:
                continue
            except _Break:
                break
            finally:
                self._scopes.pop()
        if not items:
            self.run(node.else_)

    def assign(self, node: nodes.Assign) -> None:
        self._bind(node.target, self.value(node.node))

    def assign_block(self, node: nodes.AssignBlock) -> None:
        text = self._captured(node.body)
        self._bind(node.target, self._filtered(node.filter, text) if node.filter else text)

    def filter_block(self, node: nodes.FilterBlock) -> None:
        self.write(text_of(self._filtered(node.filter, self._captured(node.body))))

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

    # Expressions

    def constant(self, node: nodes.Const) -> Any:
        return node.value

    def name(self, node: nodes.Name) -> Any:
        return next((scope[node.name] for scope in reversed(self._scopes) if node.name in scope), UNDEFINED)

    def items(self, node: nodes.List | nodes.Tuple) -> list[Any]:
        return [self.value(one) for one in node.items]

    def mapping(self, node: nodes.Dict) -> dict[Any, Any]:
        return {self.value(pair.key): self.value(pair.value) for pair in node.items}

    def negated(self, node: nodes.Not) -> bool:
        return not self.value(node.node)

    def both(self, node: nodes.And) -> Any:
        left = self.value(node.left)
        return self.value(node.right) if left else left

    def either(self, node: nodes.Or) -> Any:
        left = self.value(node.left)
        return left or self.value(node.right)

    def comparison(self, node: nodes.Compare) -> bool:
        left = self.value(node.expr)
        for operand in node.ops:
            right = self.value(operand.expr)
            if not compared(operand.op, left, right):
                return False
            left = right
        return True

    def condition(self, node: nodes.CondExpr) -> Any:
        if self.value(node.test):
            return self.value(node.expr1)
        return self.value(node.expr2) if node.expr2 is not None else UNDEFINED

    def attribute(self, node: nodes.Getattr) -> Any:
        return item(self.value(node.node), node.attr)

    def element(self, node: nodes.Getitem) -> Any:
        held = self.value(node.node)
        if not isinstance(node.arg, nodes.Slice):
            return item(held, self.value(node.arg))
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        start, stop, step = (self.value(one) if one is not None else None for one in ends)
        return held[start:stop:step]

    def sum(self, node: nodes.Add) -> Any:
        return self.value(node.left) + self.value(node.right)

    def reckoned(self, node: nodes.BinExpr) -> Any:
        """Of numbers alone: with texts these repeat and format, and both can be made enormous."""
        left, right = self.value(node.left), self.value(node.right)
        if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
            raise NotRendered("arithmetic on something that is no number is not followed here")
        match node:
            case nodes.Sub():
                return left - right
            case nodes.Mul():
                return left * right
            case nodes.Div():
                return left / right
            case nodes.FloorDiv():
                return left // right
            case _:
                return left % right

    def signed(self, node: nodes.Neg) -> Any:
        return -self.value(node.node)

    def joined(self, node: nodes.Concat) -> str:
        text = ""
        for one in node.nodes:
            text = checked(text + text_of(self.value(one)))
        return text

    def filtered(self, node: nodes.Filter) -> Any:
        if node.node is None:
            raise NotRendered("a filter of nothing is not followed here")
        return self._filtered(node, self.value(node.node))

    def tested(self, node: nodes.Test) -> bool:
        if node.name not in TESTS:
            raise NotRendered(f"the test {one_line(node.name, 40)} is not followed here")
        arguments, _ = self._arguments(node)
        return bool(TESTS[node.name](self.value(node.node), *arguments))

    def called(self, node: nodes.Call) -> Any:
        arguments, named = self._arguments(node)
        match node.node:
            case nodes.Name(name="raise_exception"):
                raise Refusing(f"it refuses: {one_line(text_of(arguments[0]) if arguments else '', 100)}")
            case nodes.Name(name="namespace"):
                return Namespace(named)
            case nodes.Name(name="range"):
                return self._range(arguments)
            case nodes.Name(name="strftime_now"):
                return "(now)"
            case nodes.Getattr(attr=str(method)):
                return self._method(self.value(node.node.node), method, arguments)
        held = self.value(node.node)
        if not isinstance(held, Macro):
            raise NotRendered("it calls something that is no function")
        return self._macro(held, arguments, named)

    # What they share

    def _method(self, held: Any, method: str, arguments: list[Any]) -> Any:
        if method not in METHODS:
            raise NotRendered(f"the method {one_line(method, 40)} is not followed here")
        result = METHODS[method](held, *arguments)
        checked(held)  # `append` made it longer
        return result

    def _macro(self, held: Macro, arguments: list[Any], named: dict[str, Any]) -> str:
        start = len(held.names) - len(held.defaults)
        given = dict(zip(held.names[start:], held.defaults, strict=True)) | dict(
            zip(held.names, arguments, strict=False)
        )
        self._scopes.append(given | {name: one for name, one in named.items() if name in held.names})
        try:
            return self._captured(held.body)
        finally:
            self._scopes.pop()

    def _range(self, arguments: list[int]) -> list[int]:
        numbers = range(*arguments)
        if len(numbers) > 1000:
            raise NotRendered("it counts further than 1000")
        return list(numbers)

    def _captured(self, body: list[nodes.Node]) -> str:
        held, self._out = self._out, []
        try:
            self.run(body)
            text = "".join(self._out)
            size_of(text)
            return text
        finally:
            self._out = held

    def _filtered(self, node: nodes.Filter, held: Any) -> Any:
        if node.name not in FILTERS:
            raise NotRendered(f"the filter {one_line(node.name, 40)} is not followed here")
        arguments, named = self._arguments(node)
        return checked(FILTERS[node.name](held, *arguments, **named))

    def _arguments(self, node: nodes.Call | nodes.Filter | nodes.Test) -> tuple[list[Any], dict[str, Any]]:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise NotRendered("* and ** are not followed here")
        named = {str(one.key): self.value(one.value) for one in node.kwargs}
        return [self.value(one) for one in node.args], named

    def _iterable(self, node: nodes.Node) -> Any:
        held = self.value(node)
        return () if held is UNDEFINED else held

    def _holds(self, test: nodes.Node, target: nodes.Node, one: Any) -> bool:
        self._scopes.append({})
        try:
            self._bind(target, one)
            return bool(self.value(test))
        finally:
            self._scopes.pop()

    def _bind(self, target: nodes.Node, held: Any) -> None:
        match target:
            case nodes.Name():
                self._scopes[-1][target.name] = held
            case nodes.NSRef():
                space = self.name(nodes.Name(target.name, "load"))
                if not isinstance(space, Namespace):
                    raise NotRendered("it sets a field of something that is no namespace")
                space.fields[target.attr] = held
            case nodes.Tuple() if isinstance(held, (list, tuple)) and len(held) == len(target.items):
                for inner, one in zip(target.items, held, strict=True):
                    self._bind(inner, one)
            case _:
                raise NotRendered("it takes apart what does not fit")


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
_EXPRESSIONS: dict[type, Any] = {
    nodes.Const: _Renderer.constant,
    nodes.Name: _Renderer.name,
    nodes.List: _Renderer.items,
    nodes.Tuple: _Renderer.items,
    nodes.Dict: _Renderer.mapping,
    nodes.Not: _Renderer.negated,
    nodes.And: _Renderer.both,
    nodes.Or: _Renderer.either,
    nodes.Compare: _Renderer.comparison,
    nodes.CondExpr: _Renderer.condition,
    nodes.Getattr: _Renderer.attribute,
    nodes.Getitem: _Renderer.element,
    nodes.Add: _Renderer.sum,
    nodes.Sub: _Renderer.reckoned,
    nodes.Mul: _Renderer.reckoned,
    nodes.Div: _Renderer.reckoned,
    nodes.FloorDiv: _Renderer.reckoned,
    nodes.Mod: _Renderer.reckoned,
    nodes.Neg: _Renderer.signed,
    nodes.Concat: _Renderer.joined,
    nodes.Filter: _Renderer.filtered,
    nodes.Test: _Renderer.tested,
    nodes.Call: _Renderer.called,
}
