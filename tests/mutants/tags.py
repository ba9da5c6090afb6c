"""Finds guards in the source by the names that comments give them, and makes a module without one.

`# guard: NAME`, `# flush: NAME` and `# order: NAME 1/2` stand behind what they name, or on a line of their own above.
That is a statement; or, inside a statement of several lines, what begins or ends there: a part of a condition, an
argument, an entry. What is named is left out: the condition of an `if`, `elif` or `case` never holds, a part of a
condition decides nothing, any other statement is `pass`. A mutant may name what stands there instead. Files can move
and statements can be rewritten, as long as the comment stays with what it names.
"""

import ast
import builtins
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parents[2]
_TAG = re.compile(r"# (guard|flush|order): (.+?)(?: ([12])/2)?(?:  # .*)?$")
_KIND = re.compile(r"# (guard|flush|order): ")
_BESIDE_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


class Misplaced(Exception):
    """A tag that names nothing, or a mutant whose tag is missing or stands twice."""


@dataclass(frozen=True, kw_only=True)
class Tag:
    kind: str  # guard | flush | order
    name: str
    step: int  # 1 or 2 of two steps whose order is a promise, else 0
    file: str  # relative to the repository
    line: int  # of the code that it names
    above: bool  # on a line of its own above the code

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").replace("/", ".")


@cache
def tags() -> tuple[Tag, ...]:
    """All of the program."""
    files = sorted((REPOSITORY / "reconciler").rglob("*.py"))
    return tuple(tag for path in files for tag in _tags_in(path))


def named(name: str, *kinds: str) -> list[Tag]:
    """The one tag of this name; or two, the steps of an order."""
    found = sorted((tag for tag in tags() if tag.name == name and tag.kind in kinds), key=lambda tag: tag.step)
    if [tag.step for tag in found] not in ([0], [1, 2]):
        raise Misplaced(f"{name}: its tag is to stand in the source once, got {found}")
    if len({tag.file for tag in found}) != 1:
        raise Misplaced(f"{name}: both steps are to stand in one file")
    return found


def _tags_in(path: Path) -> Iterator[Tag]:
    text = path.read_text(encoding="utf-8")
    file = path.relative_to(REPOSITORY).as_posix()
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline)) if _KIND.search(text) else []
    for index, token in enumerate(tokens):
        found = _TAG.match(token.string) if token.type == tokenize.COMMENT else None
        if found:
            alone = not token.line[: token.start[1]].strip()
            code = next(one for one in tokens[index:] if one.type not in _BESIDE_CODE) if alone else token
            kind, name, step = found.groups()
            yield Tag(kind=kind, name=name, step=int(step or 0), file=file, line=code.start[0], above=alone)


@dataclass(frozen=True, kw_only=True)
class Place:
    """One node of a syntax tree: `field` of `owner` holds it, a list at `index`."""

    owner: ast.AST
    field: str
    index: int

    @property
    def row(self) -> list[ast.AST]:
        row: list[ast.AST] = getattr(self.owner, self.field)
        return row

    @property
    def node(self) -> ast.AST:
        return self.row[self.index]


_PARTS = {
    (ast.BoolOp, "values"),
    (ast.Dict, "values"),
    (ast.Call, "args"),
    (ast.Call, "keywords"),
    (ast.List, "elts"),
    (ast.Set, "elts"),
    (ast.Tuple, "elts"),
    (ast.comprehension, "ifs"),
}


def place(tree: ast.Module, tag: Tag) -> Place:
    """What the tag names."""
    every = [(one, _span(one)) for one in _places(tree)]
    statements = [(one, span) for one, span in every if isinstance(one.node, (ast.stmt, ast.match_case))]
    begun = [one for one, span in statements if span.first == tag.line]
    around = [one for one, span in statements if span.first <= tag.line <= span.last]
    if begun or not around:
        return next(iter(begun), None) or _nothing(tag)
    parts = [(one, span) for one, span in every if (type(one.owner), one.field) in _PARTS]
    if tag.above:
        found = [(span.begin, one) for one, span in parts if span.first == tag.line]
        return min(found, key=lambda one: one[0], default=(0, around[-1]))[1]
    here = [(span.end, span.first == tag.line, one) for one, span in parts if span.last == tag.line]
    return max(here, key=lambda one: one[:2], default=(0, False, around[-1]))[2]


def _nothing(tag: Tag) -> Place:
    raise Misplaced(f"{tag.file}:{tag.line}: a tag that names nothing")


def _places(tree: ast.Module) -> Iterator[Place]:
    """From the outside in."""
    for owner in ast.walk(tree):
        for field, value in ast.iter_fields(owner):
            for index in range(len(value) if isinstance(value, list) else 0):
                if isinstance(value[index], ast.AST):
                    yield Place(owner=owner, field=field, index=index)


class _Span(NamedTuple):
    """The lines of a node, of a statement with a body only its head; and where it begins in the first and ends in the
    last."""

    first: int
    begin: int
    last: int
    end: int


def _span(one: Place) -> _Span:
    begin: Any = one.node
    end: Any = one.node
    body = getattr(end, "body", None)
    if isinstance(end, ast.match_case):
        begin = end.pattern
    elif isinstance(one.owner, ast.Dict):
        begin = one.owner.keys[one.index] or begin
    first = getattr(begin, "lineno", 0)
    if isinstance(end, (ast.stmt, ast.match_case)) and isinstance(body, list):
        return _Span(first, begin.col_offset, max(first, body[0].lineno - 1), 0)
    return _Span(
        first, getattr(begin, "col_offset", 0), getattr(end, "end_lineno", 0), getattr(end, "end_col_offset", 0)
    )


def without(found: list[Tag], instead: str = "", late: str = "", early: str = "") -> str:
    """The text of the module without what is tagged, or with `instead` there. Of two steps, the second comes before the
    first; or, with `late`, the first comes after the second, in these words; or `early` comes before the first."""
    tree = ast.parse((REPOSITORY / found[0].file).read_text(encoding="utf-8"))
    places = [place(tree, tag) for tag in found]
    if len(places) == 1:
        _replace(places[0], instead) if instead else _leave_out(places[0])
    else:
        _reorder(places[0], places[1], late, early)
    return ast.unparse(ast.fix_missing_locations(tree))


def _leave_out(one: Place) -> None:
    if isinstance(one.node, ast.If):
        one.node.test = ast.Constant(value=False)
    elif isinstance(one.node, ast.match_case):
        one.node.guard = ast.Constant(value=False)
    elif isinstance(one.owner, ast.BoolOp):
        one.owner.values[one.index] = ast.Constant(value=isinstance(one.owner.op, ast.And))
    elif isinstance(one.node, ast.stmt):
        one.row[one.index] = ast.Pass()
    else:
        del one.row[one.index]
        if isinstance(one.owner, ast.Dict):
            del one.owner.keys[one.index]


def _replace(one: Place, text: str) -> None:
    if isinstance(one.node, ast.If):
        one.node.test = _expression(text)
    elif isinstance(one.node, ast.stmt):
        one.row[one.index : one.index + 1] = ast.parse(text).body
    elif isinstance(one.node, ast.keyword):
        one.node.value = _expression(text)
    else:
        one.row[one.index] = _expression(text)


def _reorder(first: Place, second: Place, late: str, early: str) -> None:
    earlier, later = first.node, second.node
    if late:
        second.row[second.index + 1 : second.index + 1] = ast.parse(late).body
        first.row[_index(first.row, earlier)] = ast.Pass()
    elif early:
        first.row[first.index : first.index] = ast.parse(early).body
    else:
        second.row[second.index] = ast.Pass()
        first.row.insert(_index(first.row, earlier), later)


def _index(row: list[ast.AST], node: ast.AST) -> int:
    return next(index for index, one in enumerate(row) if one is node)


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def strangers(text: str, file: str) -> set[str]:
    """Names in a replacement that its module does not know: it would fail for them, and not for want of a guard."""
    known = _names((REPOSITORY / file).read_text(encoding="utf-8")) | {*dir(builtins)}
    return _names(text) - known


def _names(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name():
                found.add(node.id)
            case ast.arg():
                found.add(node.arg)
            case ast.alias():
                found.add((node.asname or node.name).partition(".")[0])
            case ast.FunctionDef() | ast.ClassDef():
                found.add(node.name)
    return found
