"""From `spec.source.huggingface` to a pinned source: what a manifest says, and what the lock beside it adds."""

import os.path
import posixpath
from dataclasses import replace

from reconciler.domain.errors import Problem
from reconciler.domain.sources.hub import LOCK_BYTES, LOCK_NAME, HubSource
from reconciler.manifests import hub_lock
from reconciler.manifests.declaration import Declaration, ProblemLog
from reconciler.manifests.hub_lock import Entries, LockInvalid
from reconciler.manifests.paths import ParseContext, PathRefused
from reconciler.manifests.schema import ModelManifest

HINT = "`reconciler lock` writes it anew"


class Lock:
    """The lock file of one folder of manifests; read when the first model asks for it."""

    def __init__(self, context: ParseContext, findings: ProblemLog) -> None:
        self._context = context
        self._findings = findings
        self._entries: Entries | None = None

    def source(self, declaration: Declaration[ModelManifest]) -> HubSource | None:
        """None where nothing is taken from the hub, or where what is said of it was refused."""
        given = declaration.manifest
        said = given.spec.source.huggingface if given is not None else None
        if said is None:
            return None
        declared = HubSource(repo=said.repo, revision=said.revision, include=tuple(said.include or ()))
        locked = self._read().get(declared.key)
        return replace(declared, files=locked.files, upstream=locked.upstream) if locked else declared

    def _read(self) -> Entries:
        if self._entries is None:
            try:
                self._entries = self._open()
            except LockInvalid as invalid:
                self._entries = {}
                self._findings.add(self._problem(invalid))
        return self._entries

    def _open(self) -> Entries:
        path = os.path.join(self._context.base, LOCK_NAME)
        data = self._context.read(path)
        if data is not None:
            return hub_lock.read(data)
        try:
            missing = self._context.place(path).kind == "missing"
        except PathRefused as refused:
            raise LockInvalid(str(refused)) from None
        if not missing:
            raise LockInvalid(f"expected a plain file of at most {LOCK_BYTES >> 20} MiB")
        return {}

    def _problem(self, invalid: LockInvalid) -> Problem:
        file = posixpath.normpath(self._context.shown(LOCK_NAME))
        return Problem(code="LockInvalid", file=file, line=invalid.line, message=str(invalid), hint=HINT)
