"""`reconciler.lock.json`: the size and sha256 of every file that manifests take from a remote source.

It is in the folder of the manifests and is reviewed and signed with them, so it is read as they are: as foreign text.
An entry is a `LockedSource`; its `kind` is left out where it is huggingface, and `repo`, `revision` and `include` have
the form that the kind's manifests have (`source_schema`). One form only, which `render` writes: sorted, a file a line,
so that a merge touches what changed. What is known of a source before it is fetched is in a file of its own
(`manifests.source_facts`).
"""

import json
import os.path
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from reconciler.domain.errors import InputRefused, Problem
from reconciler.domain.sources.locked import (
    CARDS_NAME,
    CATALOG,
    FACTS_NAME,
    HUGGINGFACE,
    LOCK_BYTES,
    LOCK_NAME,
    LockedSource,
    SourceFacts,
    SourceKey,
    names_of,
)
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.source_model import COMPILED
from reconciler.domain.text.names import camel
from reconciler.domain.text.quoting import listed, shown
from reconciler.host.codec import Codec
from reconciler.manifests import source_facts
from reconciler.manifests.declaration import ProblemLog
from reconciler.manifests.loader import YamlDocument
from reconciler.manifests.paths import ParseContext
from reconciler.manifests.problems import accepted
from reconciler.manifests.schema import ModelManifest
from reconciler.manifests.source_facts import HINT, LockInvalid, SourcesFile, sources_in
from reconciler.manifests.source_schema import READY_KINDS, REMOTE_KINDS, RemoteManifest

MAX_FILES = 1_000  # of one source

T = TypeVar("T")
Entries = dict[SourceKey, LockedSource]


_CODEC = Codec(SourcesFile[LockedSource], camel)
_LEFT_OUT = {"kind": HUGGINGFACE, "include": [], "ready": False, "folder": "", "upstream": ""}
_ELSEWHERE = ("facts", "card")  # in files of their own


def render(entries: Iterable[LockedSource]) -> bytes:
    ordered = [replace(one, files=tuple(sorted(one.files, key=lambda file: file.path))) for one in entries]
    lock = SourcesFile(format_version=1, sources=tuple(sorted(ordered, key=lambda one: one.key)))
    plain: dict[str, Any] = _CODEC.write(lock)
    plain["sources"] = [
        {k: held for k, held in one.items() if k not in _ELSEWHERE and _LEFT_OUT.get(k) != held}
        for one in plain["sources"]
    ]
    # Each file on one line: that is what a reviewer compares.
    text = re.sub(
        r"\{\s+(\"path\": .*),\s+(\"size\": .*),\s+(\"sha256\": .*)\s+\}", r"{\1, \2, \3}", json.dumps(plain, indent=1)
    )
    return text.encode() + b"\n"


def read(data: bytes) -> Entries:
    """Raises LockInvalid."""
    entries: Entries = {}
    for index, source in enumerate(sources_in(_CODEC, data)):
        _check(source, f"sources[{index}].")
        if source.key in entries:  # guard: a source is locked once
            raise LockInvalid(f"expected each source once, got {source} again")
        entries[source.key] = source
    return entries


def _check(source: LockedSource, place: str) -> None:
    """What the manifests of its kind demand, also of the upstream revision; and that its files have names of their
    own."""
    for name in _ELSEWHERE:
        if getattr(source, name) is not None:
            raise LockInvalid(f"{place}{name}: expected no field of this name")
    for index, file in enumerate(source.files):
        # guard: what ends as a pickle is locked for a ready model alone
        if not source.ready and file.path.endswith(COMPILED):
            raise LockInvalid(f"{place}files[{index}].path: expected the name of a safe file, got {shown(file.path)}")
    kinds = READY_KINDS if source.ready else {name: one for name, one in REMOTE_KINDS.items() if name != CATALOG}
    if source.kind not in kinds:
        raise LockInvalid(f"expected a source of the kind {listed(kinds)}, got {shown(source.kind)}")
    folder = {"folder": source.folder} if source.folder else {}
    include = {"include": list(source.include)} if source.include else {}
    for revision in filter(None, (source.revision, source.upstream)):
        declared = {**dict(zip(names_of(source.kind), (source.repo, revision), strict=True)), **folder, **include}
        document = YamlDocument(data=declared, lines={(): 0}, first_line=0, last_line=0, problems=())
        found = accepted(document, LOCK_NAME, kinds[source.kind])
        if isinstance(found, tuple):
            raise LockInvalid(f"{place}{found[0].field}: {found[0].message}")
    if not 1 <= len({file.path.casefold() for file in source.files}) == len(source.files) <= MAX_FILES:
        raise LockInvalid(f"expected 1 to {MAX_FILES:,} files of {shown(source.repo)}, each once")


class Lock:
    """The lock file of one folder of manifests; read when the first model needs it."""

    def __init__(self, context: ParseContext, findings: ProblemLog) -> None:
        self._context = context
        self._findings = findings

    def source(self, given: ModelManifest | None) -> LockedSource | None:
        """The remote source of a model, with its files from the lock; None for a folder, or a refused manifest."""
        remote = given.spec.source.remote if given is not None else None
        if remote is None:
            return None
        kind, held = remote
        return self._locked(
            kind, held, ready=kind == CATALOG or (given is not None and given.spec.source.onnx is not None)
        )

    def original(self, given: ModelManifest | None) -> LockedSource | None:
        """What a ready ONNX model is compared with, where that is remote."""
        original = given.spec.source.original if given is not None else None
        if original is None or original.huggingface is None:
            return None
        return self._locked(HUGGINGFACE, original.huggingface, ready=False)

    def _locked(self, kind: str, held: RemoteManifest, *, ready: bool) -> LockedSource:
        declared = LockedSource(
            kind=kind,
            repo=held.repo,
            revision=held.revision,
            include=tuple(held.include or ()),
            ready=ready,
            folder=getattr(held, "folder", None) or "",
        )
        locked = self._entries.get(declared.key)
        if locked is None:
            return declared
        facts, card = self._facts.get(locked.digest), self._cards.get(declared.place)
        return replace(declared, files=locked.files, upstream=locked.upstream, facts=facts, card=card)

    @cached_property
    def _entries(self) -> Entries:
        return self._read(LOCK_NAME, read, "LockInvalid", serious=True) or {}

    @cached_property
    def _facts(self) -> Mapping[str, SourceFacts]:
        """Without them a source has to be fetched before its build keys are known."""
        return self._read(FACTS_NAME, self._facts_of, "FactsInvalid", serious=False) or {}

    @cached_property
    def _cards(self) -> Mapping[str, ModelCard]:
        """Without them a licence is known once the source is here."""
        return self._read(CARDS_NAME, source_facts.read_cards, "CardsInvalid", serious=False) or {}

    def _facts_of(self, data: bytes) -> dict[str, SourceFacts]:
        found = source_facts.read(data)
        for one in self._entries.values():
            if one.digest in found and not source_facts.fit(found[one.digest], one):
                raise LockInvalid(f"{one}: expected weights that are in the lock")
        return found

    def _read(self, name: str, reader: Callable[[bytes], T], code: str, *, serious: bool) -> T | None:
        path = os.path.join(self._context.base, name)
        try:
            data = self._context.read(path)
            if data is None and self._context.place(path).kind != "missing":
                raise LockInvalid(f"expected a plain file of at most {LOCK_BYTES >> 20} MiB")
            return reader(data) if data is not None else None
        except InputRefused as error:
            file = posixpath.normpath(self._context.shown(name))
            found = Problem(code=code, file=file, line=error.line, message=str(error), hint=HINT)
            self._findings.add(found, serious=serious)
            return None
