"""One file of manifests as its documents, each with the kind that it names and what the schema says of it.

Pure, and of the file's name and bytes alone. So a `FileReader` that is used for two commits reads what they share once.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from reconciler.domain.errors import BUG, BUG_HINT, Problem, unless_we_fail
from reconciler.domain.manifest import API_VERSION
from reconciler.domain.text.quoting import field_path, listed, nearest
from reconciler.manifests import loader
from reconciler.manifests.documents.foreign import is_foreign
from reconciler.manifests.field_types import got
from reconciler.manifests.loader import YamlDocument
from reconciler.manifests.problems import accepted
from reconciler.manifests.schema import KINDS, Manifest


@dataclass(frozen=True, kw_only=True)
class ReadDocument:
    """`kind` is None where apiVersion or kind is wrong, `manifest` also where anything else is. `refused` are the
    fields (`spec.source.path`) that have a problem already; `problems` are the schema's."""

    document: YamlDocument
    kind: type[Manifest] | None
    manifest: Manifest | None
    refused: frozenset[str]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """`documents` are ours, or might be; `foreign` are those of other programs, whose problems are theirs. `problems`
    are those of its text: with any of them it may hold more documents than could be read."""

    documents: tuple[ReadDocument, ...]
    foreign: tuple[YamlDocument, ...]
    problems: tuple[Problem, ...]


class FileReader:
    """Remembers what it read."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str, bytes], ReadFile] = {}

    def read(self, file: str, name: str, data: bytes) -> ReadFile:
        """`file` is as problems name it, `name` relative to the folder of manifests."""
        key = file, name, data
        if key not in self._read:
            self._read[key] = unless_we_fail(partial(_read_file, file, name, data), partial(_unread, file))
        return self._read[key]


def _unread(file: str, message: str) -> ReadFile:
    """A file in which we failed, as one whose text is wrong."""
    problem = Problem(code=BUG, file=file, message=message, hint=BUG_HINT)
    return ReadFile(documents=(), foreign=(), problems=(problem,))


def _read_file(file: str, name: str, data: bytes) -> ReadFile:
    loaded = loader.load(file, data)
    read = [(document, _read_document(document, file, name)) for document in loaded.documents]
    ours = tuple(one for _, one in read if one is not None)
    of_text = (loaded.problems, *(one.document.problems for one in ours))
    return ReadFile(
        documents=ours,
        foreign=tuple(document for document, one in read if one is None),
        problems=tuple(one for problems in of_text for one in _once(problems)),
    )


def _once(problems: Sequence[Problem]) -> Iterator[Problem]:
    """A document full of aliases has one problem: it uses aliases."""
    counts = Counter(problem.code for problem in problems)
    for problem in problems:
        count = counts.pop(problem.code, 0) if problem.code in loader.HABITS else 1
        if count > 1:
            yield replace(problem, message=f"{problem.message} (and {count - 1:,} more)")
        elif count:
            yield problem


def _read_document(document: YamlDocument, file: str, name: str) -> ReadDocument | None:
    """None for another program's."""
    return unless_we_fail(
        lambda: None if is_foreign(document, name) else _judged(document, file), partial(_unjudged, document, file)
    )


def _unjudged(document: YamlDocument, file: str, message: str) -> ReadDocument:
    """A document in which we failed. It keeps its kind: a Policy still closes, and what a Rollout covers waits."""
    data, path = document.data, ("metadata", "name")
    named = data.get("kind") if isinstance(data, dict) and data.get("apiVersion") == API_VERSION else None
    problem = Problem(
        code=BUG, file=file, line=document.line(path), field=field_path(path), message=message, hint=BUG_HINT
    )
    return ReadDocument(
        document=document,
        kind=KINDS.get(named) if isinstance(named, str) else None,
        manifest=None,
        refused=frozenset(problem.field for problem in document.problems),
        problems=(problem,),
    )


def _judged(document: YamlDocument, file: str) -> ReadDocument:
    problems = tuple(_type_problems(document, file))
    found = document.data.get("kind") if isinstance(document.data, dict) else None
    kind = KINDS.get(found) if isinstance(found, str) and not problems else None
    manifest = accepted(document, file, kind) if kind is not None else problems
    refused = manifest if isinstance(manifest, tuple) else ()
    # What the loader refused the schema often refuses too: one mistake, one message.
    known = {problem.field for problem in document.problems}
    return ReadDocument(
        document=document,
        kind=kind,
        manifest=None if document.problems or isinstance(manifest, tuple) else manifest,
        refused=frozenset({*known, *(problem.field for problem in refused)}),
        problems=tuple(problem for problem in refused if problem.field not in known),
    )


def _type_problems(document: YamlDocument, file: str) -> Iterator[Problem]:
    """Without the right apiVersion and kind nothing else of a document can be judged."""
    if not isinstance(document.data, dict) or not {"apiVersion", "kind"} & document.data.keys():
        message = f"expected a manifest (apiVersion, kind, metadata, spec), got {got(document.data)}"
        if not document.problems:
            yield Problem(code="NotAManifest", file=file, line=document.line(()), message=message)
        return
    for field, known in (("apiVersion", [API_VERSION]), ("kind", list(KINDS))):
        value = document.data.get(field, loader.Plain())
        if not isinstance(value, str) or value not in known:
            code = "UnknownApiVersion" if field == "apiVersion" else "UnknownKind"
            message = f"expected {listed(known)}, got {got(value)}"
            hint = _meant(field, value, known) if isinstance(value, str) else ""
            line = document.line((field,))
            yield Problem(code=code, file=file, line=line, field=field, message=message, hint=hint)


def _meant(field: str, value: str, known: list[str]) -> str:
    if field == "kind" and value.lower().startswith("machine"):
        return "what a machine is stands in its own config.yaml, never in the repository: docs/configuration.md"
    return nearest(value, known)
