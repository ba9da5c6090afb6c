"""YAML text as plain data, with a line for every value and without YAML's dangerous half.

`yaml.safe_load` is not safe: 820 bytes of merge keys cost a minute, nested brackets crash the C composer. So only the
parser's *events* are used, one at a time, and whatever a manifest does not need is refused: aliases, anchors, tags,
directives, merge and complex keys, deep nesting, control and direction-changing characters.
A plain scalar stays text (`Plain`) until the schema gives it a type: `no`, `1.10` and `014` keep what was written.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import yaml

from reconciler.domain.errors import InputRefused, Problem
from reconciler.domain.text.quoting import field_path
from reconciler.manifests.manifest_text import decode, escaped_stray, strays, syntax_error, without_strays

Path = tuple[str | int, ...]

MAX_DEPTH = 16
MAX_NODES = 5_000
MAX_DOCUMENTS = 500
_PARSERS_OWN_LIMIT = "exceeded maximum nesting depth"  # of libyaml in PyYAML 6.0.4 and newer: a thousand levels

_WRITE_OUT = "write the value out"
_REFUSALS = {
    "AliasRefused": ("expected a value, got an alias (*)", _WRITE_OUT),
    "AnchorRefused": ("expected a value, got an anchor (&)", _WRITE_OUT),
    "TagRefused": ("expected a value, got a tag (!)", "delete the tag; quotes make any value text"),
    "DirectiveRefused": ("expected a manifest, got a directive (%)", "delete that line"),
    "MergeKeyRefused": ("expected a field, got a merge key (<<)", "write the fields out"),
    "ComplexKey": ("expected a name as key, got something else", ""),
    "DuplicateKey": ("expected each field once, got it again", "keep one of them"),
}

# What an author does everywhere or nowhere: reported once for a document.
HABITS = frozenset({"AliasRefused", "AnchorRefused", "TagRefused", "MergeKeyRefused", "ComplexKey"})


# libyaml's parser where PyYAML was built with it: ten times faster. Only `get_event` is called, nothing is built.
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Plain(str):
    """A scalar without quotes: the schema may read it as a number, a flag or null."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class YamlDocument:
    """One YAML document. `lines` holds the line of each value's key, by path; the root's path is ()."""

    data: object
    lines: Mapping[Path, int]
    first_line: int
    last_line: int
    problems: tuple[Problem, ...]

    def line(self, path: Path) -> int:
        """The line of the innermost known part of `path`."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The documents of one file, and the problems that belong to none of them."""

    documents: tuple[YamlDocument, ...]
    problems: tuple[Problem, ...]


def load(file: str, data: bytes) -> Loaded:
    """Read one file. Never raises: what is wrong becomes a Problem, and documents before a syntax error survive."""
    documents: list[YamlDocument] = []
    problems: list[Problem] = []
    unfinished: list[Problem] = []  # what was wrong in the document during which the reading had to stop
    try:
        text = decode(data)
        problems = strays(file, text)
        composer = _Composer(file, without_strays(text), unfinished)
        for document in composer.documents():
            # Those that stand inside a document are its own, so that only this document is refused.
            inside = [one for one in problems if document.first_line <= one.line <= document.last_line]
            problems = [one for one in problems if one not in inside]
            documents.append(replace(document, problems=(*inside, *document.problems)))
    except InputRefused as refused:
        stopped = Problem(code=refused.code, file=file, line=refused.line, message=str(refused), hint=refused.hint)
        problems += [*unfinished, stopped]
    return Loaded(documents=tuple(documents), problems=tuple(problems))


class _Composer:
    """Builds plain data from events. Depth and count are checked as events arrive, so that nothing deep is ever asked
    of the parser or of our own recursion."""

    def __init__(self, file: str, text: str, problems: list[Problem]) -> None:
        self.file = file
        self.text = text
        self.parser = _PARSER(text)
        self.events = 0  # taken from the parser so far
        self.nodes = 0
        self.lines: dict[Path, int] = {}
        self.problems = problems

    def documents(self) -> Iterator[YamlDocument]:
        count = 0
        while not isinstance(start := self.next_event(), yaml.StreamEndEvent):
            if not isinstance(start, yaml.DocumentStartEvent):
                continue
            if (count := count + 1) > MAX_DOCUMENTS:  # guard: documents are counted
                message = f"expected at most {MAX_DOCUMENTS} documents in a file"
                raise InputRefused("TooManyDocuments", message, line=_line(start.start_mark))
            document = self.document(start)
            if document.data != "" or document.problems:
                yield document

    def document(self, start: yaml.DocumentStartEvent) -> YamlDocument:
        self.nodes, self.lines = 0, {}
        self.problems.clear()
        if start.version or start.tags:  # guard: a directive is refused
            self.refuse("DirectiveRefused", start, ())
        root = self.next_event()
        self.lines[()] = _line(root.start_mark)
        document = YamlDocument(
            data=self.node(root, ()),
            lines=self.lines,
            first_line=_line(start.start_mark),
            last_line=_line(self.next_event().start_mark),
            problems=tuple(self.problems),
        )
        self.problems.clear()
        return document

    def node(self, event: yaml.Event, path: Path) -> object:
        self.nodes += 1
        if self.nodes > MAX_NODES:  # guard: values are counted
            message = f"expected at most {MAX_NODES:,} values in a document"
            raise InputRefused("TooManyNodes", message, line=_line(event.start_mark))
        if len(path) > MAX_DEPTH:  # guard: nesting is counted
            message = f"expected at most {MAX_DEPTH} levels of nesting"
            raise InputRefused("TooDeep", message, line=_line(event.start_mark))
        self.check_properties(event, path)
        match event:
            case yaml.ScalarEvent():
                return self.scalar(event, path)
            case yaml.SequenceStartEvent():
                return self.sequence(path)
            case yaml.MappingStartEvent():
                return self.mapping(path)
            case _:
                return Plain()  # an alias: refused already

    def check_properties(self, event: yaml.Event, path: Path) -> None:
        if isinstance(event, yaml.AliasEvent):  # guard: an alias is refused
            self.refuse("AliasRefused", event, path)
        elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:  # guard: an anchor is refused
            self.refuse("AnchorRefused", event, path)
        if getattr(event, "tag", None) is not None:  # guard: a tag is refused
            self.refuse("TagRefused", event, path)

    def scalar(self, event: yaml.ScalarEvent, path: Path) -> str:
        if stray := escaped_stray(self.file, _line(event.start_mark), path, event.value):
            self.problems.append(stray)
        return event.value if event.style else Plain(event.value)

    def sequence(self, path: Path) -> list[object]:
        items: list[object] = []
        while not isinstance(event := self.next_event(), yaml.SequenceEndEvent):
            inner = (*path, len(items))
            self.lines[inner] = _line(event.start_mark)
            items.append(self.node(event, inner))
        return items

    def mapping(self, path: Path) -> dict[str, object]:
        entries: dict[str, object] = {}
        while not isinstance(event := self.next_event(), yaml.MappingEndEvent):
            key = self.key(event, path)
            inner = (*path, key)
            if key in entries:  # guard: a duplicate key is refused
                self.refuse("DuplicateKey", event, inner)
                inner = (*path, f"{key} (again)")
            self.lines[inner] = _line(event.start_mark)
            value = self.node(self.next_event(), inner)
            entries.setdefault(key, value)
        return entries

    def key(self, event: yaml.Event, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self.refuse("ComplexKey", event, path)
            self.node(event, (*path, "?"))
            return "?"
        self.check_properties(event, path)
        key = str(self.scalar(event, path))
        if key == "<<" and not event.style:  # guard: a merge key is refused
            self.refuse("MergeKeyRefused", event, (*path, key))
        return key

    def refuse(self, code: str, event: yaml.Event, path: Path) -> None:
        line, field = _line(event.start_mark), field_path(path)
        message, hint = _REFUSALS[code]
        self.problems.append(Problem(code=code, file=self.file, line=line, field=field, message=message, hint=hint))

    def next_event(self) -> yaml.Event:
        try:
            event = self.parser.get_event()
        except yaml.MarkedYAMLError as error:
            if _PARSERS_OWN_LIMIT not in (error.problem or "") or error.problem_mark is None:
                raise syntax_error(error, self.text, _open_bracket(self.text)) from None
            self.stop_before(error.problem_mark)
            return self.next_event()
        except yaml.YAMLError:
            raise InputRefused("YamlSyntax", "expected YAML, got unreadable text") from None
        self.events += 1
        return cast("yaml.Event", event)

    def stop_before(self, mark: Any) -> None:
        """Begin again with the text before `mark`. The parser looks ahead, so it meets its own limit of nesting before
        it has given the events that go beyond ours."""
        taken, self.events = self.events, 0
        self.text = self.text[: mark.index]
        self.parser = _PARSER(self.text)
        for _ in range(taken):
            self.next_event()


def _open_bracket(text: str) -> Any:
    """Where the innermost bracket begins that is open when the parser gives up; None where none is."""
    parser = _PARSER(text)
    begun: list[Any] = []
    try:
        while True:
            event = parser.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                begun.append(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                begun.pop()
            elif isinstance(event, yaml.StreamEndEvent):
                return None
    except yaml.YAMLError:
        marks = (event.start_mark for event in reversed(begun) if event.flow_style)
        return next((mark for mark in marks if text[mark.index] in "[{"), None)


def _line(mark: Any) -> int:
    return mark.line + 1 if mark else 0
