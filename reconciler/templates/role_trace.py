"""What a chat template writes of a conversation whose roles are known and whose contents are not.

A content is a hole here: a template may write it, and join texts around it. Whatever else it does with one (a filter, a
comparison, a slice) shows that the text depends on the contents of messages, which no role pattern can express. The
syntax tree is walked here, and nothing of the template runs. Followed are those constructs of which the runtime and
Hugging Face make the same, and which look at nothing but the role of a message, that of the first and of the last one,
`loop.first`, `loop.last` and `add_generation_prompt`. Everything else is refused by its name (`NotExact`), so what is
left can be compared: see templates.role_form for why a few short conversations then stand for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import nodes

from reconciler.domain.text.quoting import shown

STEPS = 400_000  # of all conversations together: a second or two
LETTERS = 100  # that cost a step, where texts are joined or written
TOKENS = ("bos_token", "eos_token")

BEFORE, AFTER = -1, -2  # where a piece was written: outside of the loop over the messages, or at one of them


class NotExact(Exception):
    """Why a template has no role form: the construct, and its line (0: none in particular)."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint


class Refuses(Exception):
    """The template itself refuses a conversation (`raise_exception`)."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


@dataclass(frozen=True, kw_only=True)
class Content:
    """The content of message `number`: a hole."""

    number: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    part: str | Content
    line: int
    place: int


@dataclass(frozen=True, kw_only=True)
class _Message:
    number: int


@dataclass(frozen=True, kw_only=True)
class _Messages:
    """All of them, or all but the first."""

    start: int = 0


@dataclass(frozen=True, kw_only=True)
class _Loop:
    first: bool
    last: bool


class Budget:
    """Steps for all conversations of one template: what is too large to compare is refused, in time."""

    def __init__(self, steps: int = STEPS) -> None:
        self._left = steps

    def step(self, line: int, parts: Sequence[str | Content] = ()) -> None:
        """One, and those that these parts of a text cost: a text doubled again and again is soon out of steps."""
        self._left -= 1 + len(parts) + sum(len(part) for part in parts if isinstance(part, str)) // LETTERS
        if self._left < 0:
            raise NotExact(line, "it is too long to be compared on all conversations")


def trace(
    tree: nodes.Template, roles: Sequence[str], asked: bool, tokens: Mapping[str, str], budget: Budget
) -> tuple[Piece, ...] | Refuses:
    """What is written of a conversation with messages of these roles, in order."""
    tracer = _Tracer(roles, {"add_generation_prompt": asked, **tokens, "messages": _Messages()}, budget)
    try:
        tracer.run(tree.body)
    except Refuses as refusal:
        return refusal
    except RecursionError:
        raise NotExact(0, "it is nested too deeply") from None
    return tuple(tracer.pieces)


class _Tracer:
    """A value is True or False, None, a text (a tuple of parts), or one of the types above."""

    def __init__(self, roles: Sequence[str], given: Mapping[str, Any], budget: Budget) -> None:
        self.pieces: list[Piece] = []
        self._roles = roles
        self._names = {name: (held,) if isinstance(held, str) else held for name, held in given.items()}
        self._inside: dict[str, Any] | None = None  # what this round of the loop has set
        self._carried: frozenset[str] = frozenset()  # what any round sets
        self._place = BEFORE
        self._budget = budget

    # Statements

    def run(self, body: Sequence[nodes.Node]) -> None:
        for node in body:
            self._budget.step(node.lineno)
            match node:
                case nodes.Output():
                    self._output(node)
                case nodes.If():
                    branches = (one for one in (node, *node.elif_) if self._holds(one.test))
                    self.run(next((one.body for one in branches), node.else_))
                case nodes.For():
                    self._loop(node)
                case nodes.Assign(target=nodes.Name(name=str(name))):
                    scope = self._names if self._inside is None else self._inside
                    scope[name] = self._value(node.node)
                case _:
                    raise NotExact(node.lineno, f"no role pattern can do what the tag {_tag(node)} does")

    def _output(self, node: nodes.Output) -> None:
        for one in node.nodes:
            held = (one.data,) if isinstance(one, nodes.TemplateData) else self._value(one)
            if not isinstance(held, tuple):
                raise NotExact(one.lineno, "it writes something that is no text")
            self._budget.step(one.lineno, held)
            self.pieces += [Piece(part=part, line=one.lineno, place=self._place) for part in held if part != ""]

    def _loop(self, node: nodes.For) -> None:
        line, held = node.lineno, self._value(node.iter)
        if not isinstance(held, _Messages) or not isinstance(node.target, nodes.Name):
            raise NotExact(line, "it loops over something else than the messages")
        if self._place != BEFORE:
            raise NotExact(line, "it goes through the messages more than once")
        if node.test is not None or node.recursive or node.else_:
            raise NotExact(line, "it loops over some of the messages only")
        stored = {one.name for one in node.find_all(nodes.Name) if one.ctx == "store"}
        self._carried = frozenset(stored - {node.target.name})
        for number in range(held.start, len(self._roles)):
            self._place = number
            loop = _Loop(first=number == held.start, last=number == len(self._roles) - 1)
            self._inside = {node.target.name: _Message(number=number), "loop": loop}
            self.run(node.body)
        self._inside, self._place = None, AFTER

    # Expressions

    def _value(self, node: nodes.Node) -> Any:  # noqa: PLR0911  one return for each kind of expression
        line = node.lineno
        self._budget.step(line)
        match node:
            case nodes.Const(value=str(text)):
                return (text,)
            case nodes.Const(value=bool() | None as held):
                return held
            case nodes.Const():
                raise NotExact(line, "it computes with numbers")
            case nodes.Name(name=str(name)):
                return self._name(name, line)
            case nodes.Getattr(attr=str(key)) | nodes.Getitem(arg=nodes.Const(value=str(key))):
                return self._field(self._value(node.node), key, line)
            case nodes.Getitem():
                return self._element(self._value(node.node), node.arg, line)
            case nodes.Add() | nodes.Concat():
                return self._joined(node)
            case nodes.CondExpr(expr2=nodes.Node() as otherwise):
                return self._value(node.expr1 if self._holds(node.test) else otherwise)
            case nodes.CondExpr():
                raise NotExact(line, "it writes something `if`, and there is no `else`")
            case nodes.Call(node=nodes.Name(name="raise_exception")):
                raise Refuses(line)
            case nodes.Not() | nodes.And() | nodes.Or() | nodes.Compare() | nodes.Test():
                return self._truth(node)
            case _:
                raise NotExact(line, f"no role pattern can do what {_construct(node)} does")

    def _truth(self, node: nodes.Node) -> bool:
        """The runtime makes True or False of `and` and `or`, Python one of the two sides: as a condition that is the
        same."""
        match node:
            case nodes.Not():
                return not self._holds(node.node)
            case nodes.And():
                return self._holds(node.left) and self._holds(node.right)
            case nodes.Or():
                return self._holds(node.left) or self._holds(node.right)
            case nodes.Compare():
                return self._compared(node)
            case _:
                return self._tested(node)

    def _joined(self, node: nodes.Add | nodes.Concat) -> tuple[str | Content, ...]:
        parts: list[str | Content] = []
        for one in node.nodes if isinstance(node, nodes.Concat) else (node.left, node.right):
            held = self._value(one)
            if not isinstance(held, tuple):
                raise NotExact(one.lineno, "it joins something that is no text")
            parts += held
        self._budget.step(node.lineno, parts)
        return tuple(parts)

    def _compared(self, node: nodes.Compare) -> bool:
        match node.ops:
            case [nodes.Operand(op="eq" | "ne" as op, expr=right)]:
                return self._same(self._value(node.expr), self._value(right), node.lineno) is (op == "eq")
            case [nodes.Operand(op="in" | "notin" as op, expr=nodes.List() | nodes.Tuple() as many)]:
                found = _known(self._value(node.expr), node.lineno)
                known = [_known(self._value(one), node.lineno) for one in many.items]
                return (found in known) is (op == "in")
        raise NotExact(node.lineno, "its comparison is not about the role of a message")

    def _same(self, left: Any, right: Any, line: int) -> bool:
        if isinstance(left, bool) and isinstance(right, bool):
            return left is right
        return _known(left, line) == _known(right, line)

    def _tested(self, node: Any) -> bool:
        """A content is always a text, and what is known here is always given."""
        held = self._value(node.node)
        if node.name == "defined":
            return True
        if node.name in ("string", "none") and isinstance(held, tuple):
            return bool(node.name == "string")
        raise NotExact(node.lineno, f"it asks whether something is {shown(node.name)}")

    def _name(self, name: str, line: int) -> Any:
        if self._inside is not None and name in self._inside:
            return self._inside[name]
        if name in self._carried:
            # A loop of the runtime remembers what its last round has set; Hugging Face's forgets it.
            raise NotExact(line, f"it takes {shown(name)} from one message to the next")
        if name not in self._names:
            hint = f"give its text: --{name.replace('_', '-')} TEXT" if name in TOKENS else ""
            raise NotExact(line, f"it asks for {shown(name)}, which role patterns do not know", hint)
        return self._names[name]

    def _field(self, held: Any, key: str, line: int) -> Any:
        match held, key:
            case _Message(), "role":
                return (self._roles[held.number],)
            case _Message(), "content":
                return (Content(number=held.number),)
            case _Message(), _:
                raise NotExact(line, f"it reads {shown(key)} of a message: a role pattern has the content alone")
            case _Loop(), "first" | "last":
                return getattr(held, key)
            case _Loop(), _:
                raise NotExact(line, f"it counts the messages (loop.{shown(key)})")
        raise NotExact(line, f"it reads {shown(key)} of something that is no message")

    def _element(self, held: Any, key: nodes.Node, line: int) -> Any:
        match key:
            case _ if held != _Messages():
                pass
            case nodes.Const(value=0):
                return _Message(number=0)
            case nodes.Neg(node=nodes.Const(value=1)) | nodes.Const(value=-1):
                return _Message(number=len(self._roles) - 1)
            case nodes.Slice(start=nodes.Const(value=1), stop=None, step=None):
                return _Messages(start=1)
        raise NotExact(line, "it takes apart something else than the first, the last, and all but the first message")

    def _holds(self, node: nodes.Node) -> bool:
        held = self._value(node)
        match held:
            case bool() | None:
                return bool(held)
            case tuple():
                return bool(_known(held, node.lineno))
            case _Messages():
                return held.start < len(self._roles)
        raise NotExact(node.lineno, "its condition is not about the role of a message")


def _known(held: Any, line: int) -> str:
    """A text without holes."""
    if not isinstance(held, tuple):
        raise NotExact(line, "it compares something else than texts")
    if any(isinstance(part, Content) for part in held):
        raise NotExact(line, "what it writes depends on the content of a message")
    return "".join(held)


def _tag(node: nodes.Node) -> str:
    name = type(node).__name__
    return {"Assign": "set", "AssignBlock": "set", "ExprStmt": "do"}.get(name, name.lower())


def _construct(node: nodes.Node) -> str:
    match node:
        case nodes.Filter(name=str(name)):
            return f"the filter {shown(name)}"
        case nodes.Call(node=nodes.Name(name=str(name))):
            return f"the function {shown(name)}"
        case nodes.Call(node=nodes.Getattr(attr=str(name))):
            return f"the method {shown(name)}"
        case _:
            return f"the expression {type(node).__name__}"
