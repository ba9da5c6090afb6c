"""Manifests from a branch of a git repository, read from our own mirror.

The server is asked for the branch's commit; objects come only when it moved. A commit is followed when it descends from
the one that was accepted before, and is signed as the operator wants. Any other is refused, and the accepted one stays
what this machine follows, with a problem beside it. A server that does not answer is a warning: `Stale`.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from reconciler.domain.errors import LockHeld, PermanentError, Problem, TemporaryError
from reconciler.domain.layout import Layout
from reconciler.host import durable
from reconciler.host.lock import hold
from reconciler.manifests.parsed import Parsed
from reconciler.sources.git.address import Remote
from reconciler.sources.git.export import Exports
from reconciler.sources.git.lfs import with_lfs_sources
from reconciler.sources.git.manifests_in_commit import GitDisk, read_manifests
from reconciler.sources.git.mirror import CommitRefused, Mirror, Unreachable
from reconciler.sources.git.objects import MirrorBroken, Objects, Tree
from reconciler.sources.git.runner import Credentials, GitFailed, GitRunner
from reconciler.sources.manifests import Gathered, gather, interpret

T = TypeVar("T")

STALE = "Stale"  # the code of the warning that the server did not answer
LOCK_PATIENCE = 60.0  # seconds: another reconciler may be fetching


@dataclass(frozen=True, kw_only=True)
class Followed:
    """`commit` passed all checks, and `parsed` is what it declares; `gathered` is what was read for that; `asked`: the
    server was asked for it now."""

    commit: str
    parsed: Parsed
    gathered: Gathered | None = None
    asked: bool = True


def follow(
    remote: Remote,
    layout: Layout,
    *,
    credentials: Credentials,
    accepted: str,
    accept: bool,
    allowed_roots: tuple[str, ...] = (),
    gathers: bool = False,
    ask: bool = True,
) -> Followed:
    """What the branch declares now. `accepted` is the commit that was accepted last, "" before the first.

    With `accept` the caller is going to apply it: then the mirror keeps it, and frees what only others needed. Without
    `ask` the server is asked only where nothing was accepted yet.
    Raises what went wrong when there is no accepted commit to go on with.
    """
    sources = layout.at("sources")
    with alone(sources):
        following = _Following(remote, layout, credentials, allowed_roots, gathers=gathers)
        commit, refused = "" if ask else following.kept(accepted), None
        asked = not commit
        if asked:
            commit, refused = following.choose(accepted)
        parsed = following.read(commit)
        if accept:
            following.accept(commit, parsed)
    parsed = replace(parsed, revision=f"{remote.branch}@sha1:{commit}")
    if refused is not None:
        parsed = _with_refusal(parsed, remote.url, commit, refused)
    return Followed(commit=commit, parsed=parsed, gathered=following.gathered, asked=asked)


def _with_refusal(parsed: Parsed, url: str, commit: str, error: PermanentError | TemporaryError) -> Parsed:
    """With the reason why this machine goes on with an earlier commit: a warning where the server did not answer, a
    problem where its commit is not followed."""
    note = f"{error}; going on with {commit}, accepted before"
    if isinstance(error, TemporaryError):
        stale = Problem(code=STALE, file=url, message=f"stale: {note}", hint=error.hint)
        return replace(parsed, warnings=(stale, *parsed.warnings))
    problem = Problem(code=error.code, file=url, message=note, hint=error.hint)
    return replace(parsed, problems=(problem, *parsed.problems))


def stands(remote: Remote, layout: Layout, credentials: Credentials, commit: str) -> bool:
    """Whether the branch names that commit still and its signature holds: one question to the server. Nothing is
    written, so no lock is taken. Raises as `follow` does."""
    folder = layout.at("mirror.git")
    mirror = Mirror(folder, remote, GitRunner.of(remote, folder, credentials))
    return mirror.poll() == commit and not mirror.unsigned(commit, commit)


class _Following:
    """The steps of one look at one branch. The mirror's lock is held."""

    def __init__(
        self, remote: Remote, layout: Layout, credentials: Credentials, roots: tuple[str, ...], *, gathers: bool
    ) -> None:
        self.gathered: Gathered | None = None
        self._gathers = gathers
        self._remote = remote
        self._sources = layout.at("sources")
        self._staging = os.path.join(self._sources, "staging")
        self._roots = tuple(os.path.realpath(root) for root in roots)
        self._git = GitRunner.of(remote, layout.at("mirror.git"), credentials)
        self._exports = Exports(self._sources)
        self._exports.sweep()
        self._mirror = Mirror(layout.at("mirror.git"), remote, self._git)
        self._mirror.open(self._staging)

    def kept(self, accepted: str) -> str:
        """The commit that was accepted last, where it is here and its signature holds; else ""."""
        with contextlib.suppress(GitFailed, MirrorBroken, TemporaryError):
            accepted = accepted or self._mirror.accepted()
            if accepted and self._mirror.has(accepted) and not self._mirror.unsigned(accepted, accepted):
                return accepted
        return ""

    def choose(self, accepted: str) -> tuple[str, PermanentError | TemporaryError | None]:
        """The commit to read; and where that is the accepted one because the newest cannot be followed, why."""
        accepted = accepted or self._mirror.accepted()
        try:
            return self._newest(accepted), None
        except (PermanentError, TemporaryError) as error:
            self._check_last(accepted, error)
            return accepted, error

    def read(self, commit: str) -> Parsed:
        """What the commit declares, by the parser that reads folders too."""
        return self._healed(lambda: self._read(commit), commit, commit)

    def _read(self, commit: str) -> Parsed:
        self._exports.used.clear()
        with Objects(self._git, complete=True) as objects:
            tree = Tree(objects, commit)
            found, folder = read_manifests(tree, self._remote.path)
            base = os.path.normpath(os.path.join(self._sources, folder))
            roots = (self._sources, *self._roots)
            disk = GitDisk(tree, self._sources, self._exports)
            declared = interpret(found, base, folder, roots, disk)
            parsed = with_lfs_sources(declared, tree, disk.folders().get, self._remote.url)
            self.gathered = gather(found, base, self._sources, disk) if self._gathers else None
            return parsed

    def accept(self, commit: str, parsed: Parsed) -> None:
        """Whatever is wrong with its manifests: accepted is what passed the checks of `choose`, so that nothing older
        is followed after it."""
        with contextlib.suppress(GitFailed, TemporaryError):  # the records know it; this only keeps its objects
            self._mirror.accept(commit)
            self._mirror.tidy()
        self._exports.forget_others(failed=parsed.failed)

    def _newest(self, accepted: str) -> str:
        """The branch's commit, if it may be followed."""
        tip = self._mirror.poll()
        commit = self._healed(lambda: self._mirror.fetch(tip, accepted), tip, accepted)
        if accepted and not self._remote.allow_rewind and not self._descends(commit, accepted):
            message = f"{commit} does not descend from {accepted}, which was accepted before: history was rewritten"
            hint = "if that was meant, pass --allow-rewind once"
            raise CommitRefused(message, hint=hint, code="HistoryRewritten")
        self._check_signatures(commit, accepted)
        return commit

    def _descends(self, commit: str, accepted: str) -> bool:
        return self._healed(lambda: self._mirror.descends(commit, accepted), commit, accepted)

    def _check_signatures(self, commit: str, accepted: str) -> None:
        unsigned = self._healed(lambda: self._mirror.unsigned(commit, accepted), commit, accepted)
        if unsigned:
            hint = "sign it with a key of --allowed-signers (or of RECONCILER_GNUPGHOME)"
            message = f"the signature of {unsigned} is missing, or by a key that is not allowed"
            raise CommitRefused(message, hint=hint, code="SignatureRefused")

    def _check_last(self, accepted: str, error: PermanentError | TemporaryError) -> None:
        """Raises `error` when there is nothing to go on with."""
        if not accepted or not self._mirror.has(accepted):
            hint = "nothing was accepted from there yet: check the address, the branch and the credentials"
            raise type(error)(str(error), hint=error.hint or hint, code=error.code) from None
        self._check_signatures(accepted, accepted)

    def _healed(self, act: Callable[[], T], tip: str, accepted: str) -> T:
        """A mirror that fails twice in a row is cloned anew: stale locks and torn packs never need a person."""
        for _ in range(2):
            try:
                return act()
            except (MirrorBroken, GitFailed):
                self._mirror.open(self._staging)
        try:
            self._mirror.replace(self._staging, tip, accepted)
            return act()
        except (MirrorBroken, GitFailed) as failed:
            message = f"{self._remote.url} cannot be fetched: {failed}"
            raise Unreachable(message, code="FetchFailed") from None


@contextlib.contextmanager
def alone(folder: str) -> Iterator[None]:
    """One process at a time fetches and exports: `plan` does so too, without the root's lock."""
    durable.make_folder(folder)
    deadline = time.monotonic() + LOCK_PATIENCE
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold(os.path.join(folder, "lock"), command="fetch"))
                break
            except LockHeld:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield
