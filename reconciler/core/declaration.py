"""One manifest on its way to a declared thing, and where to say what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from reconciler.core.errors import Problem
from reconciler.core.quoting import field_path
from reconciler.core.schema import Manifest
from reconciler.core.value import value

if TYPE_CHECKING:
    from reconciler.core.loader import Document, Path

Kind_co = TypeVar("Kind_co", bound=Manifest, covariant=True)


class Findings:
    """What was found wrong so far, in one parse."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(self, problem: Problem, *, serious: bool = True) -> None:
        """Say it, but only once: a template that two models name is still one file."""
        known = self.problems if serious else self.warnings
        if problem not in known:
            known.append(problem)


@value
class Claim:
    """A name that a document takes, whether or not the document is any good. `where` is `file:line`."""

    kind: str
    name: str
    file: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@value
class Declaration(Generic[Kind_co]):
    """A manifest that its schema accepts. `file` is as people name it, `name` relative to the folder of manifests."""

    manifest: Kind_co
    document: Document
    file: str
    name: str

    def problem(self, path: Path, code: str, message: str, hint: str = "") -> Problem:
        return Problem(
            code=code,
            file=self.file,
            line=self.document.line(path),
            field=field_path(path),
            message=message,
            hint=hint,
        )
