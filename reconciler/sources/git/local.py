"""A repository of this machine, only read: for `diff`, which must be safe on commits of strangers.

The mirror's way to run git (`git_command`) keeps a temporary folder for each command and loads GitPython; here nothing
is written at all. Only `rev-parse`, `merge-base` and `cat-file` run: none of them starts a program, reads attributes or
touches the work tree, whatever the repository's own configuration says. No protocol is allowed, so what a partial clone
lacks stays missing. The git directory is named outright, so nobody has to own it (a container of a CI job often
does not).
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator

from reconciler.domain.errors import PermanentError, TemporaryError, UsageError
from reconciler.domain.quoting import printable, shown
from reconciler.sources.git.command import ENVIRONMENT, OPTIONS
from reconciler.sources.git.objects import Objects

LOCAL_TIME = 60.0  # seconds, for one question
LONGEST_REVISION = 300

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Repository:
    """`folder` is the git directory."""

    def __init__(self, folder: str) -> None:
        options = [part for name, held in OPTIONS.items() for part in ("-c", f"{name}={held}")]
        program = ["--no-pager", f"--git-dir={folder}", "--literal-pathspecs", "--no-optional-locks"]
        self._command = [_git(), *program, *options, "-c", "protocol.allow=never"]
        self._shallow = os.path.exists(os.path.join(folder, "shallow"))

    def commit(self, revision: str) -> str:
        """The commit that a branch, tag or abbreviation names."""
        if not revision or revision.startswith("-") or len(revision) > LONGEST_REVISION:
            raise UsageError(
                f"expected a commit, got {shown(revision)}", hint="a branch, a tag or a commit's sha1"
            )
        if "\0" in revision or not revision.isprintable():
            raise UsageError(f"expected a commit, got {shown(revision)}")
        code, found = self._ask(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
        if code == 0 and _COMMIT.fullmatch(found):
            return found
        raise PermanentError(
            f"there is no commit {shown(revision)} in this repository",
            hint=self._hint("git fetch it first"),
            code="CommitMissing",
        )

    def merge_base(self, one: str, other: str) -> str:
        """Where two commits parted. What lies on both sides since is nobody's change."""
        code, found = self._ask("merge-base", "--end-of-options", one, other)
        if code == 0 and _COMMIT.fullmatch(found.partition("\n")[0]):
            return found.partition("\n")[0]
        message = f"{one[:12]} and {other[:12]} have no common commit here"
        raise PermanentError(message, hint=self._hint("compare them with BASE HEAD"), code="NoMergeBase")

    @contextlib.contextmanager
    def objects(self) -> Iterator[Objects]:
        with Objects(self._command, _environment()) as objects:
            yield objects

    def _hint(self, otherwise: str) -> str:
        if not self._shallow:
            return otherwise
        return "this clone is shallow: `git fetch --unshallow`, or `fetch-depth: 0` for actions/checkout"

    def _ask(self, *arguments: str) -> tuple[int, str]:
        try:
            done = subprocess.run(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=_environment(),
                timeout=LOCAL_TIME,
                check=False,
            )
        except subprocess.TimeoutExpired:
            message = f"git {arguments[0]} took more than {LOCAL_TIME:.0f} s"
            raise TemporaryError(message, code="GitTimeout") from None
        if b"not a git repository" in done.stderr:
            raise UsageError(printable(done.stderr.decode(errors="replace").strip())[:300])
        return done.returncode, done.stdout.decode(errors="replace").strip()


def open_repository(folder: str) -> Repository:
    """The repository that `folder` is in, or that it is itself when it is bare."""
    where = os.path.abspath(folder)
    if not os.path.isdir(where):
        raise UsageError(f"there is no folder {folder}")
    while True:
        if found := _git_directory(where):
            return Repository(found)
        parent = os.path.dirname(where)
        if parent == where:
            raise UsageError(f"{folder} is in no git repository", hint="pass --repo-dir DIR")
        where = parent


def _git_directory(folder: str) -> str:
    """A clone has `.git`; a further work tree has a file of that name, which says where."""
    inner = os.path.join(folder, ".git")
    if os.path.isdir(inner):
        return inner
    if os.path.isfile(inner):
        with open(inner, encoding="utf-8", errors="replace") as file:
            said = file.read(4096).strip()
        return os.path.join(folder, said.removeprefix("gitdir:").strip())
    bare = all(os.path.exists(os.path.join(folder, name)) for name in ("HEAD", "objects", "refs"))
    return folder if bare else ""


def _git() -> str:
    """By its whole path, and never from the current folder: that may be the checkout of a stranger's branch."""
    name = "git.exe" if os.name == "nt" else "git"
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, name)
        if os.path.isabs(folder) and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise PermanentError("git cannot be found", hint="install git", code="GitMissing")


def _environment() -> dict[str, str]:
    """Nothing that steers git (GIT_DIR, GIT_CONFIG_COUNT, GIT_TRACE...) comes from outside; no home is read."""
    kept = {name: held for name, held in os.environ.items() if not name.startswith("GIT_")}
    nowhere = dict.fromkeys(("HOME", "USERPROFILE", "XDG_CONFIG_HOME"), os.devnull)
    return {**kept, **ENVIRONMENT, **nowhere, "GIT_ALLOW_PROTOCOL": "", "LC_ALL": "C"}
