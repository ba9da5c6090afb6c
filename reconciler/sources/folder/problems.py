"""A look at a folder notes what is wrong and goes on, so that people learn of all of it at once.

Each is one line, whatever names and values of the folder it quotes."""

import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from reconciler.domain.errors import Problem
from reconciler.domain.text.escape import one_line
from reconciler.sources.folder.guarded_folder import FileRefused, denied

P = ParamSpec("P")
T = TypeVar("T")


class FolderProblems:
    """The problems of one folder. Files are named below the folder's own name: its whole path may be private."""

    def __init__(self, folder: str) -> None:
        self.problems: list[Problem] = []
        self._name = os.path.basename(folder.rstrip(os.sep))

    def attempt(self, file: str, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What the action returns; None where it finds something wrong with that file."""
        try:
            return action(*args, **kwargs)
        except FileRefused as refused:
            self.note(file, refused)
        except PermissionError:
            self.note(file, denied())
        except OSError as error:
            self.note(file, FileRefused("FileUnreadable", (error.strerror or str(error)).lower()))
        return None

    def note(self, file: str, refused: FileRefused) -> None:
        self.problems.append(self.problem(file, refused.code, str(refused), refused.hint))

    def problem(self, file: str, code: str, message: str, hint: str = "") -> Problem:
        place = one_line("/".join(filter(None, (self._name, file))))
        return Problem(code=code, file=place, message=one_line(message), hint=one_line(hint))
