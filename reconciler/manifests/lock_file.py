"""`reconciler.lock.json`: the size and sha256 of every file that manifests take from a remote source.

It is in the folder of the manifests and is reviewed and signed with them, so it is read as they are: as foreign text.
An entry has the fields of its kind (`source_schema`), `kind` where that is not huggingface, and the files. One form
only, which `render` writes: sorted, a file a line, so that a merge touches what changed.
"""

import json
import os.path
import posixpath
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, StringConstraints

from reconciler.domain.errors import Problem
from reconciler.domain.sources.locked import HUGGINGFACE, LOCK_BYTES, LOCK_NAME, LockedFile, LockedSource, is_safe
from reconciler.domain.text.quoting import listed, shown
from reconciler.manifests.declaration import ProblemLog
from reconciler.manifests.fields import AnyText, as_text, as_whole, expect
from reconciler.manifests.loader import Document
from reconciler.manifests.paths import ParseContext, PathRefused
from reconciler.manifests.problems import accepted
from reconciler.manifests.schema import ModelManifest
from reconciler.manifests.source_schema import REMOTE_KINDS
from reconciler.manifests.strict import Strict

FORMAT_VERSION = 1
MAX_FILES = 1_000  # of one source
LARGEST_FILE = 1 << 44  # bytes
HINT = "`reconciler lock` writes it anew"

FormT = TypeVar("FormT", bound=Strict)
Entries = dict[tuple[str, str, str, tuple[str, ...]], LockedSource]


class LockInvalid(ValueError):
    """One line; `line` is 0 when the whole file is meant."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def _safe(name: str) -> str:
    # guard: what is printed of the hub's listing is safe to name
    if not is_safe(name):  # guard: a locked file has a safe name
        raise ValueError
    return name


Path = Annotated[str, AfterValidator(_safe), expect("the name of a safe file", as_text)]
Size = Annotated[int, Field(ge=0, le=LARGEST_FILE), expect("a size in bytes", as_whole)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$"), expect("a sha256 of 64 hex digits", as_text)]


class _File(Strict):
    path: Path = Field(description="Its name.")
    size: Size = Field(description="In bytes.")
    sha256: Sha256 = Field(description="Of its content.")


class _Entry(Strict):
    kind: AnyText = Field(default=HUGGINGFACE, description="The kind of source.")
    repo: AnyText = Field(description="As in the manifest.")
    revision: AnyText = Field(description="As in the manifest.")
    include: list[AnyText] | None = Field(default=None, description="As in the manifest.")
    upstream: AnyText | None = Field(default=None, description="The default branch's revision when it was locked.")
    files: list[_File] = Field(min_length=1, max_length=MAX_FILES, description="All of its files.")


class _LockFile(Strict):
    format_version: Literal[1] = Field(description="The version of this format.")
    sources: list[_Entry] = Field(description="Each once.")


def render(entries: Iterable[LockedSource]) -> bytes:
    sources = [_entry(source) for source in sorted(entries, key=lambda one: one.key)]
    text = json.dumps({"formatVersion": FORMAT_VERSION, "sources": sources}, indent=1)
    # Each file on one line: that is what a reviewer compares.
    text = re.sub(r"\{\s+(\"path\": .*),\s+(\"size\": .*),\s+(\"sha256\": .*)\s+\}", r"{\1, \2, \3}", text)
    return text.encode() + b"\n"


def _entry(source: LockedSource) -> dict[str, object]:
    return {
        **({"kind": source.kind} if source.kind != HUGGINGFACE else {}),
        "repo": source.repo,
        "revision": source.revision,
        **({"include": list(source.include)} if source.include else {}),
        **({"upstream": source.upstream} if source.upstream else {}),
        "files": [asdict(file) for file in sorted(source.files, key=lambda one: one.path)],
    }


def read(data: bytes) -> Entries:
    """Raises LockInvalid."""
    entries: Entries = {}
    for index, entry in enumerate(_accepted(_LockFile, _parsed(data)).sources):
        source = _source(entry, f"sources[{index}].")
        if source.key in entries:  # guard: a source is locked once
            raise LockInvalid(f"expected each source once, got {source} again")
        entries[source.key] = source
    return entries


def _parsed(data: bytes) -> Any:
    if len(data) > LOCK_BYTES:
        raise LockInvalid(f"expected at most {LOCK_BYTES >> 20} MiB, got {len(data):,} bytes")
    try:
        return json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except LockInvalid:
        raise
    except json.JSONDecodeError as error:
        raise LockInvalid(f"expected JSON: {error.msg.lower()}", error.lineno) from None
    except (ValueError, RecursionError):
        raise LockInvalid("expected JSON, got something else") from None


def _source(entry: _Entry, place: str) -> LockedSource:
    if entry.kind not in REMOTE_KINDS:
        raise LockInvalid(f"expected a source of the kind {listed(REMOTE_KINDS)}, got {shown(entry.kind)}")
    for revision in filter(None, (entry.revision, entry.upstream)):  # both as the kind's manifests have them
        said = {"repo": entry.repo, "revision": revision} | ({"include": entry.include} if entry.include else {})
        _accepted(REMOTE_KINDS[entry.kind], said, place)
    if len({file.path.casefold() for file in entry.files}) < len(entry.files):
        raise LockInvalid(f"expected each file of {shown(entry.repo)} once")
    return LockedSource(
        kind=entry.kind,
        repo=entry.repo,
        revision=entry.revision,
        include=tuple(entry.include or ()),
        files=tuple(LockedFile(path=file.path, size=file.size, sha256=file.sha256) for file in entry.files),
        upstream=entry.upstream or "",
    )


def _accepted(form: type[FormT], data: Any, place: str = "") -> FormT:
    found = accepted(Document(data=data, lines={(): 0}, first_line=0, last_line=0, problems=()), LOCK_NAME, form)
    if isinstance(found, tuple):
        raise LockInvalid(f"{place}{found[0].field}: {found[0].message}".removeprefix(": "))
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise LockInvalid("expected each field once")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise LockInvalid(f"expected a number, got {name}")


class Lock:
    """The lock file of one folder of manifests; read when the first model needs it."""

    def __init__(self, context: ParseContext, findings: ProblemLog) -> None:
        self._context = context
        self._findings = findings
        self._entries: Entries | None = None

    def source(self, given: ModelManifest | None) -> LockedSource | None:
        """The remote source of a model, with its files from the lock; None for a folder, or a refused manifest."""
        remote = given.spec.source.remote if given is not None else None
        if remote is None:
            return None
        kind, said = remote
        declared = LockedSource(kind=kind, repo=said.repo, revision=said.revision, include=tuple(said.include or ()))
        locked = self._read().get(declared.key)
        return replace(declared, files=locked.files, upstream=locked.upstream) if locked else declared

    def _read(self) -> Entries:
        if self._entries is None:
            self._entries = {}
            try:
                self._entries = self._open()
            except LockInvalid as invalid:
                file = posixpath.normpath(self._context.shown(LOCK_NAME))
                problem = Problem(code="LockInvalid", file=file, line=invalid.line, message=str(invalid), hint=HINT)
                self._findings.add(problem)
        return self._entries

    def _open(self) -> Entries:
        path = os.path.join(self._context.base, LOCK_NAME)
        data = self._context.read(path)
        if data is not None:
            return read(data)
        try:
            missing = self._context.place(path).kind == "missing"
        except PathRefused as refused:
            raise LockInvalid(str(refused)) from None
        if not missing:
            raise LockInvalid(f"expected a plain file of at most {LOCK_BYTES >> 20} MiB")
        return {}
