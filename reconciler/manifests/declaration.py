"""One manifest on its way to a declared thing, and where to say what is wrong with it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from reconciler.domain.errors import Problem
from reconciler.domain.text.quoting import field_path
from reconciler.manifests.fields import is_null
from reconciler.manifests.loader import Document, Path
from reconciler.manifests.schema import Manifest

Kind_co = TypeVar("Kind_co", bound=Manifest, covariant=True)


class ProblemLog:
    """What was found wrong so far, in one parse."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(self, problem: Problem, *, serious: bool = True) -> None:
        """Say it, but only once: a template that two models name is still one file."""
        known = self.problems if serious else self.warnings
        if problem not in known:
            known.append(problem)


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

    `manifest` is None when something has been said against the document already. What its other fields name is checked
    all the same, so that everything is said at once: `refused` are the fields (`spec.source.path`) not to look at.
    """

    kind: type[Kind_co]
    manifest: Kind_co | None
    document: Document
    file: str
    name: str
    refused: frozenset[str] = frozenset()

    def problem(self, path: Path, code: str, message: str, hint: str = "") -> Problem:
        return Problem(
            code=code, file=self.file, line=self.document.line(path), field=field_path(path), message=message, hint=hint
        )

    def text(self, *path: str | int) -> str | None:
        """What the author wrote in that field; None for nothing, and for what was refused."""
        found = self._found(path)
        return str(found) if isinstance(found, str) and not is_null(found) else None

    def texts(self, *path: str | int) -> list[str | None]:
        """The items of a list, with None for each that was refused."""
        found = self._found(path)
        return [self.text(*path, index) for index in range(len(found))] if isinstance(found, list) else []

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
