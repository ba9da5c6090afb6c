"""Where a machine stands in the branch that it follows: for people, from our own mirror. The server is not asked."""

import contextlib
import re
from dataclasses import dataclass

from reconciler.domain.errors import PermanentError, TemporaryError
from reconciler.domain.layout import Layout
from reconciler.host.clock import text_of
from reconciler.sources.git.address import Remote
from reconciler.sources.git.mirror import Mirror
from reconciler.sources.git.objects import MirrorBroken
from reconciler.sources.git.runner import GitFailed, GitRunner

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
LONGEST_SUBJECT = 200  # characters


@dataclass(frozen=True, kw_only=True)
class CommitFacts:
    """`behind` is how many commits of the branch are here beyond the applied one; None where that is unknown. `time` is
    RFC 3339, UTC, "" where the commit is not here."""

    subject: str = ""
    time: str = ""
    behind: int | None = None


def commit_facts(remote: Remote, layout: Layout, commit: str, applied: str) -> CommitFacts:
    """Of `commit`, which this machine tried last. Never raises for a mirror that is not there, torn, or replaced just
    now: then little is known."""
    git = GitRunner(layout.at("mirror.git"))
    mirror = Mirror(layout.at("mirror.git"), remote, git)
    subject = time = ""
    behind = None
    with contextlib.suppress(GitFailed, MirrorBroken, PermanentError, TemporaryError, OSError, ValueError):
        if _COMMIT.fullmatch(commit):
            seconds, _, subject = git.text("log", "-1", "--format=%ct %s", commit, "--").strip().partition(" ")
            time = text_of(float(seconds))
        if _COMMIT.fullmatch(applied) and mirror.has(applied):
            behind = int(git.text("rev-list", "--count", f"{applied}..{mirror.fetched() or commit}", "--"))
    return CommitFacts(subject=subject[:LONGEST_SUBJECT], time=time, behind=behind)
