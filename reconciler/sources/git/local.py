"""A repository of this machine, only read: for `diff`, which must be safe on commits of strangers.

Nothing is written. Only `rev-parse`, `merge-base`, `cat-file` and a question to `config` run: none starts a program,
reads attributes or touches the work tree, whatever the repository's own configuration says. No protocol is allowed, so
what a partial clone lacks stays missing. The git directory is named outright, so it need not belong to this user (in a
container of a CI job it often does not).
"""

import os
import re
from pathlib import Path

from reconciler.domain.errors import PermanentError, UsageError
from reconciler.domain.text.quoting import shown
from reconciler.sources.git.objects import Objects
from reconciler.sources.git.runner import GitFailed, GitRunner

LOCAL_TIME = 60.0  # seconds, for one question
LONGEST_REVISION = 300

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_PARTIAL = r"^(remote\..*\.promisor|extensions\.partialclone)$"  # set by `git clone --filter`


class LocalRepository:
    """`folder` is the git directory."""

    def __init__(self, folder: str) -> None:
        self._git = GitRunner(folder, protocols="")
        self._shallow = os.path.exists(os.path.join(folder, "shallow"))

    def commit(self, revision: str) -> str:
        """The commit that a branch, tag or abbreviation names."""
        if not revision.isprintable() or not revision or revision.startswith("-") or len(revision) > LONGEST_REVISION:
            raise UsageError(f"expected a commit, got {shown(revision)}", hint="a branch, a tag or a commit's sha1")
        found = self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if _COMMIT.fullmatch(found):
            return found
        message = f"there is no commit {shown(revision)} in this repository"
        raise PermanentError(message, hint=self._hint("git fetch it first"), code="CommitMissing")

    def merge_base(self, one: str, other: str) -> str:
        found = self._ask("merge-base", "--end-of-options", one, other)
        if _COMMIT.fullmatch(found):
            return found
        message = f"{one[:12]} and {other[:12]} have no common commit here"
        raise PermanentError(message, hint=self._hint("compare them with BASE HEAD"), code="NoMergeBase")

    def objects(self) -> Objects:
        return Objects(self._git, complete=False, partial=bool(self._ask("config", "--get-regexp", _PARTIAL)))

    def _hint(self, otherwise: str) -> str:
        if not self._shallow:
            return otherwise
        return "this clone is shallow: `git fetch --unshallow`, or `fetch-depth: 0` for actions/checkout"

    def _ask(self, *arguments: str) -> str:
        """The first line of the answer, "" for a no."""
        try:
            return self._git.text(*arguments, seconds=LOCAL_TIME).partition("\n")[0]
        except GitFailed as failed:
            if "not a git repository" in failed.complaint:
                raise UsageError(failed.complaint) from None
            return ""


def open_repository(folder: str) -> LocalRepository:
    """The repository that `folder` is in, or that it is itself when it is bare."""
    return LocalRepository(git_directory(folder))


def git_directory(folder: str) -> str:
    """Of that repository. Raises UsageError."""
    where = os.path.abspath(folder)
    if not os.path.isdir(where):
        raise UsageError(f"there is no folder {folder}")
    for one in (where, *map(str, Path(where).parents)):
        if found := _git_directory(one):
            return found
    raise UsageError(f"{folder} is in no git repository", hint="pass --repo-dir DIR")


def _git_directory(folder: str) -> str:
    """A clone has `.git`; a further work tree has a file of that name, which says where."""
    inner = os.path.join(folder, ".git")
    if os.path.isdir(inner):
        return inner
    if os.path.isfile(inner):
        with open(inner, encoding="utf-8", errors="replace") as file:
            text = file.read(4096).strip()
        return os.path.join(folder, text.removeprefix("gitdir:").strip())
    bare = all(os.path.exists(os.path.join(folder, name)) for name in ("HEAD", "objects", "refs"))
    return folder if bare else ""
