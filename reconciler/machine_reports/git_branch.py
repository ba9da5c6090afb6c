"""Reports in a branch of a git repository, one file a machine, for some hundred machines: each push is a commit on top
of the newest one, made again where another machine was faster. Nothing is checked out, and no other file of the branch
is touched.

A bare repository of our own holds what was fetched. It is made anew when it cannot be used.
"""

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from reconciler.domain.errors import TemporaryError
from reconciler.fleet.inventory_form import SIGNATURE, is_inventory
from reconciler.host import system
from reconciler.machine_reports.folder import ENDING, MARK_ENDING, MARK_TEXT
from reconciler.machine_reports.place import LONGEST_ENTRY, LONGEST_SIGNATURE, MOST_ENTRIES, Sent, all_marks
from reconciler.sources.git.address import Remote
from reconciler.sources.git.mirror import CommitRefused, Mirror
from reconciler.sources.git.objects import FILE, Entry, MirrorBroken, Objects, Tree
from reconciler.sources.git.runner import POLL_TIME, Credentials, GitFailed, GitRunner

TRIES = 10  # where other machines push at the same time
PAUSE = 0.5  # seconds, times a drawn number and the tries so far
LARGEST = 2 << 30  # bytes of all that is fetched
MOST_PACKS = 50  # then the repository is made anew
TIP = "refs/reconciler/reports"
AUTHOR = ("-c", "user.name=reconciler", "-c", "user.email=reconciler@localhost", "-c", "commit.gpgSign=false")


class ReportBranch:
    """`folder` is where the bare repository is kept; "" for a temporary one. `credentials` are for this server only."""

    def __init__(
        self, remote: Remote, credentials: Credentials, folder: str = "", sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = f"{remote.url}#{remote.branch}"
        self._remote, self._sleep = remote, sleep
        self._temporary = "" if folder else tempfile.mkdtemp(prefix="reconciler-reports-")
        self._folder = folder or os.path.join(self._temporary, "reports.git")
        self._git = GitRunner.of(remote, self._folder, credentials)

    def put(self, one: Sent) -> None:
        path = one.entry + ENDING
        self._change({path: one.data, path + SIGNATURE: one.signature}, f"report of {one.entry}")

    def mark(self, marks: Iterable[str]) -> None:
        self._change({name + MARK_ENDING: MARK_TEXT for name in marks}, "a release is refused")

    def unmark(self, marks: Iterable[str]) -> None:
        self._change({name + MARK_ENDING: None for name in marks}, "a release is refused no more")

    def _change(self, files: Mapping[str, bytes | None], why: str) -> None:
        """One commit; none where nothing is new."""
        for tries in range(1, TRIES + 1):
            tip = self._fetched(missing_is_empty=True)
            try:
                commit = self._committed(files, tip, why) if files else ""
                if commit:
                    self._push(commit)
                return
            except GitFailed as failed:
                if tries == TRIES:
                    message = f"{self.name}: nothing can be pushed: {failed.complaint or failed}"
                    hint = "may this account push to that branch?"
                    raise TemporaryError(message, hint=hint, code="ReportsUnreachable") from None
            self._sleep(PAUSE * tries * random.random())

    def each(self) -> Iterator[Sent]:
        return self._sent(is_inventory)

    def some(self, entries: Iterable[str]) -> Iterator[Sent]:
        return self._sent({entry + ENDING for entry in entries}.__contains__)

    def _sent(self, wanted: Callable[[str], bool]) -> Iterator[Sent]:
        with self._newest() as tree:
            files = {entry.name: entry for entry in tree.children(tree.at(""))}
            for name in sorted(filter(wanted, files))[:MOST_ENTRIES]:
                yield _sent(tree, name, files)

    def marks(self) -> Collection[str]:
        with self._newest() as tree:
            names = [entry.name for entry in tree.children(tree.at(""))]
        return all_marks((one.removesuffix(MARK_ENDING) for one in names if one.endswith(MARK_ENDING)), self.name)

    @contextlib.contextmanager
    def _newest(self) -> Iterator[Tree]:
        tip = self._fetched(missing_is_empty=False)
        try:
            with Objects(self._git, complete=True) as objects:
                yield Tree(objects, tip)
        except MirrorBroken as broken:
            raise self._unreadable(f"{tip[:12]} of {self.name} cannot be read: {broken}") from None

    def _unreadable(self, message: str) -> TemporaryError:
        """What was fetched may be torn: the next try makes it anew."""
        system.remove_tree(self._folder, ignore_errors=True)
        return TemporaryError(message, code="ReportsUnreachable")

    def close(self) -> None:
        if self._temporary:
            system.remove_tree(self._temporary, ignore_errors=True)

    def _fetched(self, *, missing_is_empty: bool) -> str:
        """The newest commit of the branch, which is here then; "" where there is no branch yet."""
        self._open()
        try:
            tip = Mirror(self._folder, self._remote, self._git).poll()
        except CommitRefused:
            if missing_is_empty:
                return ""
            raise
        try:
            self._git.fetch(self._remote, TIP, "--depth=1", limit=LARGEST)
            return self._git.text("rev-parse", "--verify", TIP)
        except GitFailed as failed:
            raise self._unreadable(f"{tip[:12]} of {self.name} cannot be fetched: {failed.complaint}") from None

    @property
    def _packs(self) -> str:
        return os.path.join(self._folder, "objects", "pack")

    def _open(self) -> None:
        """Ours alone, and only a cache: whatever is wrong with it, it is made anew."""
        if os.path.isdir(self._packs):
            torn = self._git.code("rev-parse", "--git-dir") != 0
            if torn or len(os.listdir(self._packs)) > 2 * MOST_PACKS:
                system.remove_tree(self._folder)
            for name in ("index.lock", "shallow.lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._folder, name))
        if not os.path.isdir(self._packs):
            os.makedirs(os.path.dirname(self._folder), exist_ok=True)
            self._git.run("init", "--quiet", "--bare", "--template=", "--object-format=sha1")

    def _committed(self, files: Mapping[str, bytes | None], tip: str, why: str) -> str:
        """ "" where the newest commit has them so already."""
        self._git.run("read-tree", *([tip] if tip else ["--empty"]))
        for path, data in files.items():
            self._set(path, data)
        tree = self._git.text("write-tree")
        if tip and tree == self._git.text("rev-parse", f"{tip}^{{tree}}"):
            return ""
        parent = ("-p", tip) if tip else ()
        return self._git.text(*AUTHOR, "commit-tree", tree, *parent, "-m", why)

    def _set(self, path: str, data: bytes | None) -> None:
        """A file of the next commit; None: none."""
        if data is None:
            self._git.run(f"--work-tree={self._folder}", "update-index", "--force-remove", "--", path)
            return
        written = os.path.join(self._folder, "report.tmp")
        with open(written, "wb") as file:
            file.write(data)
        blob = self._git.text("hash-object", "-w", "--no-filters", "--", written)
        self._git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")

    def _push(self, commit: str) -> None:
        """The server refuses what does not descend from its newest commit."""
        target = f"{commit}:refs/heads/{self._remote.branch}"
        self._git.run("push", "--quiet", "--no-verify", "--", self._remote.url, target, seconds=POLL_TIME)


def _sent(tree: Tree, name: str, files: Mapping[str, Entry]) -> Sent:
    entry, signature = name.removesuffix(ENDING), files.get(name + SIGNATURE)
    for one, most in ((files[name], LONGEST_ENTRY), (signature, LONGEST_SIGNATURE)):
        if one is not None and (one.kind != FILE or one.size > most):
            what = f"of {one.size:,} bytes" if one.kind == FILE else f"a {one.kind}"
            return Sent(entry=entry, why=f"{one.name} is {what}")
    held = tree.read(one for one in (files[name], signature) if one is not None)
    data = held[files[name].object]
    return Sent(entry=entry, data=data, signature=held[signature.object] if signature is not None else None)
