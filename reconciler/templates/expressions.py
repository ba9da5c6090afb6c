"""Expressions of a chat template, worked out step by step under limits: one half of templates.example, which has
the statements and the story."""

from __future__ import annotations

import math
from typing import Any

from jinja2 import nodes

from reconciler.domain.escape import one_line
from reconciler.templates.values import (
    UNDEFINED,
    Macro,
    Namespace,
    NotRendered,
    Refusing,
    checked,
    compared,
    item,
    joined_of,
    size_of,
    text_of,
)
from reconciler.templates.words import FILTERS, METHODS, TESTS

STEPS = 50_000


class Expressions:
    """`_scopes` are names, innermost last; only loops and macros open one."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._scopes: list[dict[str, Any]] = [given]
        self._left = STEPS

    def captured(self, body: list[nodes.Node]) -> str:
        """What statements write."""
        raise NotImplementedError

    def value(self, node: nodes.Node) -> Any:
        self.step()
        act = _EXPRESSIONS.get(type(node))
        if act is None:
            raise NotRendered(f"{type(node).__name__} is not followed here")
        held = act(self, node)
        self.step(size_of(held) // 20)  # whoever handles large values makes fewer steps
        return held

    def step(self, more: int = 0) -> None:
        self._left -= 1 + more
        if self._left < 0:
            raise NotRendered(f"it takes more than {STEPS:,} steps")

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

    def both(self, node: nodes.And) -> bool:
        return bool(self.value(node.left)) and bool(self.value(node.right))

    def either(self, node: nodes.Or) -> Any:
        left = self.value(node.left)
        return left or self.value(node.right)

    def comparison(self, node: nodes.Compare) -> bool:
        if len(node.ops) > 1:
            raise NotRendered("chained comparisons are not followed here")
        return compared(node.ops[0].op, self.value(node.expr), self.value(node.ops[0].expr))

    def condition(self, node: nodes.CondExpr) -> Any:
        if self.value(node.test):
            return self.value(node.expr1)
        return self.value(node.expr2) if node.expr2 is not None else UNDEFINED

    def attribute(self, node: nodes.Getattr) -> Any:
        return item(self._followed(node.node), node.attr)

    def element(self, node: nodes.Getitem) -> Any:
        held = self._followed(node.node)
        if not isinstance(node.arg, nodes.Slice):
            return item(held, self.value(node.arg))
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        start, stop, step = (self.value(one) if one is not None else None for one in ends)
        if isinstance(held, str) and not held.isascii():
            raise NotRendered(
                "a slice of letters beyond ASCII, which the runtime cuts apart, is not followed here"
            )
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
            case nodes.Div() if isinstance(left, int) and isinstance(right, int):
                return int(left / right)  # towards nought, as the runtime rounds
            case nodes.Div():
                return left / right
            case nodes.FloorDiv():
                return int(left / right)
            case _:
                return int(math.fmod(left, right))

    def signed(self, node: nodes.Neg) -> Any:
        return -self.value(node.node)

    def joined(self, node: nodes.Concat) -> str:
        text = ""
        for one in node.nodes:
            text = checked(text + joined_of(self.value(one)))
        return text

    def filtered(self, node: nodes.Filter) -> Any:
        if node.node is None:
            raise NotRendered("a filter of nothing is not followed here")
        return self.filtered_by(node, self.value(node.node))

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
                return self._method(self._followed(node.node.node), method, arguments)
        held = self.value(node.node)
        if not isinstance(held, Macro):
            raise NotRendered("it calls something that is no function")
        return self._macro(held, arguments, named)

    # What they share

    def _followed(self, node: nodes.Node) -> Any:
        """Something that more is said about. After f(...) the runtime reads nothing."""
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
            raise NotRendered("something that follows f(...) is not followed here")
        return self.value(node)

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
            return self.captured(held.body)
        finally:
            self._scopes.pop()

    def _range(self, arguments: list[int]) -> list[int]:
        numbers = range(*arguments)
        if len(numbers) > 1000:
            raise NotRendered("it counts further than 1000")
        return list(numbers)

    def filtered_by(self, node: nodes.Filter, held: Any) -> Any:
        if node.name not in FILTERS:
            raise NotRendered(f"the filter {one_line(node.name, 40)} is not followed here")
        arguments, named = self._arguments(node)
        return checked(FILTERS[node.name](held, *arguments, **named))

    def _arguments(self, node: nodes.Call | nodes.Filter | nodes.Test) -> tuple[list[Any], dict[str, Any]]:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise NotRendered("* and ** are not followed here")
        named = {str(one.key): self.value(one.value) for one in node.kwargs}
        return [self.value(one) for one in node.args], named

    def iterable(self, node: nodes.Node) -> Any:
        held = self.value(node)
        return () if held is UNDEFINED else held

    def holds(self, test: nodes.Node, target: nodes.Node, one: Any) -> bool:
        self._scopes.append({})
        try:
            self.bind(target, one)
            return bool(self.value(test))
        finally:
            self._scopes.pop()

    def bind(self, target: nodes.Node, held: Any) -> None:
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
                    self.bind(inner, one)
            case _:
                raise NotRendered("it takes apart what does not fit")


_EXPRESSIONS: dict[type, Any] = {
    nodes.Const: Expressions.constant,
    nodes.Name: Expressions.name,
    nodes.List: Expressions.items,
    nodes.Tuple: Expressions.items,
    nodes.Dict: Expressions.mapping,
    nodes.Not: Expressions.negated,
    nodes.And: Expressions.both,
    nodes.Or: Expressions.either,
    nodes.Compare: Expressions.comparison,
    nodes.CondExpr: Expressions.condition,
    nodes.Getattr: Expressions.attribute,
    nodes.Getitem: Expressions.element,
    nodes.Add: Expressions.sum,
    nodes.Sub: Expressions.reckoned,
    nodes.Mul: Expressions.reckoned,
    nodes.Div: Expressions.reckoned,
    nodes.FloorDiv: Expressions.reckoned,
    nodes.Mod: Expressions.reckoned,
    nodes.Neg: Expressions.signed,
    nodes.Concat: Expressions.joined,
    nodes.Filter: Expressions.filtered,
    nodes.Test: Expressions.tested,
    nodes.Call: Expressions.called,
}
