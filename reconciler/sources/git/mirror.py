"""Our own bare copy of the branches we follow: fetched, healed and asked, never checked out.

Each followed branch has two refs of ours in it: `fetched` is the server's last answer, `accepted` what passed all
checks and was applied. The records say the same about `accepted`; the ref keeps its objects, and survives their loss.
A first fetch is shallow. Later ones bring every commit since, so whether a commit descends from the accepted one can
always be decided; where the accepted commit is not in the mirror any more, the whole history is fetched to find it.
"""

import os
import re

from reconciler.domain import digest
from reconciler.domain.errors import PermanentError, TemporaryError
from reconciler.domain.text.quoting import shown
from reconciler.host import durable
from reconciler.sources.git.address import Remote
from reconciler.sources.git.objects import MirrorBroken
from reconciler.sources.git.process import folder_size
from reconciler.sources.git.runner import FETCH_TIME, POLL_TIME, GitFailed, GitRunner

LARGEST_FETCH = 8 << 30  # bytes
MOST_PACKS = 50  # more make every look-up slow

_COMMIT = re.compile(r"[0-9a-f]{40}")
_LEADS_TO = "ref: refs/heads/"  # how ls-remote begins the line of a HEAD


class Unreachable(TemporaryError):
    """The server did not answer, or not to us."""

    code = "GitUnreachable"


class CommitRefused(PermanentError):
    """The server offers a commit that we do not follow."""


class Mirror:
    """The caller holds the mirror's lock."""

    def __init__(self, folder: str, remote: Remote, command: GitRunner) -> None:
        self.folder = folder
        self._packs = os.path.join(folder, "objects", "pack")
        self._remote = remote
        self._git = command
        name = digest.of_bytes(f"{remote.url}\n{remote.branch}".encode()).removeprefix("sha256:")[:16]
        self._fetched, self._accepted = (f"refs/reconciler/{name}/{ref}" for ref in ("fetched", "accepted"))

    def open(self, staging: str) -> None:
        """Make it if there is none, and remove what a killed git left: its locks would block every later fetch, and
        nothing else ever removes its half-written packs."""
        # With a torn `config` every call fails, also those that ask the server.
        if not os.path.isfile(os.path.join(self.folder, "HEAD")) or self._git.code("rev-parse", "--git-dir"):
            self._swap(self._begun(staging), staging)
        for folder, _, names in os.walk(self.folder):
            for name in names:
                if name.endswith(".lock") or name.startswith(("tmp_", ".tmp-")):
                    durable.remove_file(os.path.join(folder, name))

    def replace(self, staging: str, tip: str, accepted: str) -> None:
        """Clone anew beside, then swap: until the new one is whole, the torn one may still answer."""
        folder = self._begun(staging)
        Mirror(folder, self._remote, self._git.at(folder)).fetch(tip, accepted)
        self._swap(folder, staging)

    def poll(self) -> str:
        """The commit that the server's branch names now: one small question, no objects. The server's default branch
        is asked for with it, to be named where ours is not there."""
        ref = f"refs/heads/{self._remote.branch}"
        try:
            asked = ("ls-remote", "--quiet", "--symref", "--", self._remote.url, ref, "HEAD")
            _, answer = self._git.run(*asked, seconds=POLL_TIME, limit=1 << 20)
        except GitFailed as failed:
            why = failed.complaint or "git ended without a message"
            raise Unreachable(f"{self._remote.url} cannot be read: {why}") from None
        usual = ""
        for line in answer.decode("utf-8", "replace").splitlines():
            commit, _, name = line.partition("\t")
            if name == ref and _COMMIT.fullmatch(commit):
                return commit
            if name == "HEAD" and commit.startswith(_LEADS_TO):
                usual = commit.removeprefix(_LEADS_TO)
        message = f"{self._remote.url} has no branch {self._remote.branch}"
        hint = f"did you mean {shown(usual)}? That is its default branch; or was {self._remote.branch} deleted?"
        empty = "was it deleted, or is the repository empty?"
        raise CommitRefused(
            message, hint=hint if usual not in ("", self._remote.branch) else empty, code="BranchMissing"
        )

    def fetch(self, tip: str, accepted: str) -> str:
        """Bring the branch here, if it moved. Returns its commit, which may be newer than `tip`."""
        if self._ref(self._fetched) == tip and all(map(self.has, {tip, accepted or tip})):
            return tip
        options = ("--no-filter", *self._depth(tip, accepted))
        try:
            self._git.fetch(self._remote, self._fetched, *options, limit=LARGEST_FETCH)
        except GitFailed as failed:
            # The server has just answered `poll`, so it may as well be our mirror that is torn.
            raise MirrorBroken(failed.complaint) from None
        # git flushes no name of a pack. The records soon call the commit accepted, and a machine whose server is away
        # goes on with that. The refs may go: they are fetched again.
        durable.flush_below(os.path.join(self.folder, "objects"))  # flush: what git fetched
        return self._ref(self._fetched)

    def has(self, commit: str) -> bool:
        return self._git.code("cat-file", "-e", f"{commit}^{{tree}}") == 0

    def accepted(self) -> str:
        return self._ref(self._accepted)

    def fetched(self) -> str:
        """The newest commit of the branch that is here, followed or not."""
        return self._ref(self._fetched)

    def accept(self, commit: str) -> None:
        if self.accepted() != commit:
            self._git.run("update-ref", self._accepted, commit)

    def descends(self, commit: str, ancestor: str) -> bool:
        """Raises MirrorBroken or GitFailed when that cannot be decided: an error is never a no."""
        if commit == ancestor:
            return True
        if not self.has(ancestor):
            return False  # the whole history was fetched, and it is not in there
        code = self._git.code("merge-base", "--is-ancestor", ancestor, commit)
        if code == 1:  # git says so too where it cannot read a commit on the way, and then a walk fails
            self._git.run("rev-list", "--quiet", commit, f"^{ancestor}")
        if code not in (0, 1):
            raise MirrorBroken(f"git merge-base ended with {code}")
        return code == 0  # guard: only descendants

    def unsigned(self, commit: str, accepted: str) -> str:
        """The first commit whose signature does not hold, or "". Only the exit code counts: git prints `Good "git"
        signature` for keys that are not allowed. `all` means all since the accepted one."""
        if self._remote.verify == "none":
            return ""
        commits = [commit]
        if self._remote.verify == "all" and accepted and accepted != commit:
            listed = self._git.text("rev-list", "--max-count=100000", commit, f"^{accepted}")
            commits = list(dict.fromkeys([commit, *listed.split()]))
        # guard: signatures decide by exit code
        return next((one for one in commits if self._git.code("verify-commit", one) != 0), "")

    def tidy(self) -> None:
        """One pack per fetch adds up."""
        if sum(name.endswith(".pack") for name in os.listdir(self._packs)) > MOST_PACKS:
            self._git.run("gc", "--quiet", "--prune=now", seconds=FETCH_TIME)

    def _depth(self, tip: str, accepted: str) -> tuple[str, ...]:
        """Shallow only into an empty mirror: elsewhere it would cut off history that another branch relies on."""
        if folder_size(self._packs) == 0:
            return ("--depth=1",) if accepted in ("", tip) else ()
        shallow = os.path.isfile(os.path.join(self.folder, "shallow"))
        return ("--unshallow",) if shallow and accepted and not self.has(accepted) else ()

    def _ref(self, name: str) -> str:
        code, commit = self._git.run("rev-parse", "--verify", "--quiet", name, ok=(0, 1, 128))
        return commit.decode("ascii", "replace").strip() if code == 0 else ""

    def _begun(self, staging: str) -> str:
        """An empty mirror beside: half a one never has the name."""
        durable.make_folder(staging)
        folder = os.path.join(staging, f"mirror-{os.urandom(4).hex()}")
        self._git.at(folder).run("init", "--quiet", "--bare", "--template=", "--object-format=sha1")
        return folder

    def _swap(self, folder: str, staging: str) -> None:
        old = durable.unname(self.folder, staging) if os.path.lexists(self.folder) else ""
        durable.publish(folder, self.folder)
        if old:
            durable.free(old)
