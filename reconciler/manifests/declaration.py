"""One manifest on its way to a declared value: what its author wrote, and the log for what is wrong with it."""

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from reconciler.domain.errors import BUG, BUG_HINT, InputRefused, Problem, unless_we_fail
from reconciler.domain.text.quoting import field_path, shown
from reconciler.manifests.field_types import is_null
from reconciler.manifests.loader import Path, YamlDocument
from reconciler.manifests.paths import ParseContext, locate
from reconciler.manifests.schema import Manifest

T = TypeVar("T")
Kind_co = TypeVar("Kind_co", bound=Manifest, covariant=True)


class ProblemLog:
    """The problems of one parse, each once: a template that two models name is still one file."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(self, problem: Problem, *, serious: bool = True) -> None:
        known = self.problems if serious else self.warnings
        if problem not in known:
            known.append(problem)

    @property
    def failed(self) -> bool:
        """Whether a mistake of ours is among them."""
        return any(problem.code == BUG for problem in self.problems)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A name that a document takes, whether or not the document is any good. `where` is `file:line`."""

    kind: str
    name: str
    file: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Declaration(Generic[Kind_co]):
    """A document of a known kind. `file` is as people name it, `name` relative to the folder of manifests.

    `manifest` is None when the document has a problem already. What its other fields name is checked all the same, so
    that all problems are reported at once: `refused` are the fields (`spec.source.path`) not to look at.
    """

    kind: type[Kind_co]
    manifest: Kind_co | None
    document: YamlDocument
    file: str
    name: str
    context: ParseContext
    log: ProblemLog
    refused: frozenset[str] = frozenset()

    def report(self, path: Path, code: str, message: str, hint: str = "", *, serious: bool = True) -> None:
        line, field = self.document.line(path), field_path(path)
        problem = Problem(code=code, file=self.file, line=line, field=field, message=message, hint=hint)
        self.log.add(problem, serious=serious)

    def unless_we_fail(self, read: Callable[[], T]) -> T | None:
        """What `read` gives; None for a mistake of ours, which is reported: it harms the document that brings it up,
        and no other."""
        return unless_we_fail(read, lambda message: self.report(("metadata", "name"), BUG, message, BUG_HINT))

    def located(self, path: Path, kind: str) -> str | None:
        """What the path in that field leads to; None where there is none, or where it was refused and reported."""
        if (written := self.text(*path)) is None:
            return None
        try:
            return locate(written, self.name, kind, self.context)
        except InputRefused as refused:
            self.report(path, refused.code, str(refused), refused.hint)
            return None

    def read(self, path: Path, hint: str = "") -> tuple[bytes, str] | None:
        """The file that the field names: its bytes, and its name as people write it. None as in `located`."""
        if (place := self.located(path, "file")) is None:
            return None
        written = self.text(*path) or ""
        if (data := self.context.read(place)) is None:
            self.report(path, "Unreadable", f"expected a small plain file, got {shown(written)}", hint)
            return None
        return data, self.context.shown(posixpath.join(posixpath.dirname(self.name), written))

    def text(self, *path: str | int) -> str | None:
        """What the author wrote in that field; None for nothing, and for what was refused."""
        found = self._found(path)
        return str(found) if isinstance(found, str) and not is_null(found) else None

    def texts(self, *path: str | int) -> list[str | None]:
        """The items of a list, with None for each that was refused."""
        found = self._found(path)
        return [self.text(*path, index) for index in range(len(found))] if isinstance(found, list) else []

    def says(self, *path: str | int) -> bool:
        """Whether the author wrote anything in that field, be it empty; null is nothing."""
        found = self._found(path)
        return found is not None and not is_null(found)

    def keys(self, *path: str | int) -> list[str]:
        """The names of the fields that the author wrote there."""
        found = self._found(path)
        return list(found) if isinstance(found, dict) else []

    def _found(self, path: Path) -> object:
        found = self.document.data
        for depth, part in enumerate(path, 1):
            if self.refused and field_path(path[:depth]) in self.refused:
                return None
            if isinstance(found, dict):
                found = found.get(part)
            else:
                found = found[part] if isinstance(found, list) and isinstance(part, int) else None
        return found
