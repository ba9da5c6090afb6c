"""The role form of a Jinja chat template, where there is one that means exactly the same; else the reason.

The patterns are read from conversations of one message. That they are right is then shown on every conversation of up
to `LONGEST` messages, with and without the beginning of an answer: the template and the Jinja of its patterns must
write the same, whatever the contents of the messages are (templates.role_trace: they are holes). That is enough for
conversations of any length. What templates.role_trace follows writes one text before the messages and one after them,
and of each message a text that depends on its role, on whether it is one of the first two or the last, and on the roles
of the first and the last one. With X for what is written until the second message and Y for what comes with the last
one, XY and X M(r) Y are right for every role r; so X is the right beginning but for some text that every M(r) carries
along and Y completes, and any number of messages may stand between them.

Exact is about conversations that the role form covers: messages of a system, a user and an assistant, with a text
each. A message of another role is refused by the role form, never left out. What a request may bring besides (tools,
documents) the role form would leave out in silence, so a template that asks for it has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, product

from jinja2 import nodes

from reconciler.domain.manifest import Roles
from reconciler.domain.text.quoting import shown
from reconciler.templates.chat_template import CONTENT, LONGEST_PATTERN, jinja_of
from reconciler.templates.lint import lint
from reconciler.templates.role_trace import AFTER, BEFORE, Budget, Content, NotExact, Piece, Refuses, trace
from reconciler.templates.syntax import SYNTAX

ROLES = ("system", "user", "assistant")
OTHER = "tool"
LONGEST, WITHOUT_SLICES = 4, 3

_Written = tuple[Piece, ...] | Refuses


@dataclass(frozen=True, kw_only=True)
class RoleForm:
    """`notes` say where the two differ beyond the conversations that the role form covers."""

    roles: Roles
    notes: tuple[str, ...] = ()


def roles_of(template: str, tokens: Mapping[str, str] | None = None) -> RoleForm:
    """Raises NotExact. `tokens` are those that templates ask for by name: bos_token, eos_token."""
    for finding in lint(template.encode(errors="replace")):
        if finding.serious:
            raise NotExact(finding.line, finding.message, finding.hint)
    form = _Form(SYNTAX.parse(template), tokens or {})
    roles = form.roles()
    form.compare(roles)
    return RoleForm(roles=roles, notes=form.notes())


class _Form:
    """A template, and what it writes."""

    def __init__(self, tree: nodes.Template, tokens: Mapping[str, str]) -> None:
        self._tree = tree
        self._budget = Budget()
        self._written = partial(trace, tree, tokens=tokens, budget=self._budget)

    def roles(self) -> Roles:
        """The only ones that can be right: a conversation of one message is its pattern and nothing else."""
        patterns = {role: _pattern(self._written([role], asked=False), role) for role in ROLES}
        return Roles(**patterns, prompt=_pattern(self._written(["user"], asked=True), "user"))

    def compare(self, roles: Roles) -> None:
        form = SYNTAX.parse(jinja_of(roles))
        longest = LONGEST if any(self._tree.find_all(nodes.Slice)) else WITHOUT_SLICES
        for length in range(1, longest + 1):
            for conversation, asked in product(product(ROLES, repeat=length), (False, True)):
                found = self._written(conversation, asked=asked)
                wanted = trace(form, conversation, asked, {}, self._budget)
                if _joined(found) != _joined(wanted):
                    raise self._early() or _differs(conversation, asked, found, wanted)

    def notes(self) -> tuple[str, ...]:
        try:
            refused = isinstance(self._written([OTHER], asked=False), Refuses)
        except NotExact:
            refused = False
        note = "the role form refuses messages of other roles (tool, developer); this template does not"
        return () if refused else (note,)

    def _early(self) -> NotExact | None:
        """What comes once, before the messages, is the usual reason, and looks like a part of the first pattern."""
        for role in ROLES:
            written = self._written([role], asked=False)
            for piece in written if isinstance(written, tuple) else ():
                if piece.place == BEFORE and isinstance(piece.part, str):
                    message = f"it writes {_text(piece)} before the messages, and each pattern belongs to a message"
                    return NotExact(piece.line, message)
        return None


def _pattern(written: _Written, role: str) -> str:
    """As a role pattern; empty where the template refuses the role, as only a system message may be."""
    if isinstance(written, Refuses):
        if role == "system":
            return ""
        raise NotExact(written.line, f"it refuses a conversation that begins with the {role}")
    holes = [piece for piece in written if isinstance(piece.part, Content)]
    line = written[-1].line if written else 0
    if not holes:
        raise NotExact(line, f"it leaves out the content of the {role} message")
    if len(holes) > 1:
        raise NotExact(holes[1].line, f"it writes the content of the {role} message more than once")
    pattern = "".join(piece.part if isinstance(piece.part, str) else CONTENT for piece in written)
    if pattern.count(CONTENT) > 1:
        raise NotExact(line, f"it writes {CONTENT} itself, which in a pattern is where the message goes")
    if len(pattern) > LONGEST_PATTERN:
        raise NotExact(line, f"it writes more than {LONGEST_PATTERN:,} characters around a message")
    return pattern


def _joined(written: _Written) -> list[str | Content] | None:
    """What is read in the end: holes, and between them the whole texts. None where it is refused."""
    if isinstance(written, Refuses):
        return None
    joined: list[str | Content] = []
    for is_text, pieces in groupby(written, key=lambda piece: isinstance(piece.part, str)):
        parts = [piece.part for piece in pieces]
        joined += ["".join(map(str, parts))] if is_text else parts
    return joined


def _differs(conversation: Sequence[str], asked: bool, found: _Written, wanted: _Written) -> NotExact:
    which = f"a conversation of {', '.join(conversation)}"
    if isinstance(found, Refuses):
        return NotExact(found.line, f"it refuses {which}, which its patterns would write")
    if isinstance(wanted, Refuses):
        return NotExact(0, f"it writes {which}, though it refuses one that begins with the system")
    late = next((piece for piece in found if piece.place == AFTER), None)
    if late and not asked:
        return NotExact(late.line, f"it writes {_text(late)} after the messages though no answer is asked for")
    at = _first_difference(found, wanted)
    if at is None:
        line = found[-1].line if found else 0
        return NotExact(line, f"in {which} it writes less than of single messages: what follows depends on others")
    return NotExact(at.line, f"in {which} it writes {_text(at)}, which it does not of single messages")


def _text(piece: Piece) -> str:
    return f"'{shown(piece.part)}'" if isinstance(piece.part, str) else "a message"


def _first_difference(found: tuple[Piece, ...], wanted: tuple[Piece, ...]) -> Piece | None:
    """The piece of `found` in which the two part; None when `found` ends there."""
    right = [letter for piece in wanted for letter in _letters(piece)]
    at = 0
    for piece in found:
        letters = _letters(piece)
        if right[at : at + len(letters)] != letters:
            return piece
        at += len(letters)
    return None


def _letters(piece: Piece) -> list[str | Content]:
    return list(piece.part) if isinstance(piece.part, str) else [piece.part]
