"""Read the reports of a fleet from their place, judge each, and put together what its view is made of. Changes nothing
but the folder of keys (trust on first use) and the file of what was seen, where these are asked for.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from reconciler.domain.errors import PermanentError, TemporaryError, UsageError
from reconciler.domain.machine_report import (
    FORGED,
    REPLAYED,
    TOO_OLD,
    UNKNOWN_KEY,
    UNREADABLE,
    UNSIGNED,
    VERIFIED,
    JudgedReport,
)
from reconciler.domain.rollout import Rollout
from reconciler.fleet.inventory import Inventory
from reconciler.host import durable
from reconciler.host.codec import Codec, Misformed, parse_json
from reconciler.host.reading import read_whole
from reconciler.machine_reports.keys import KeyFolder
from reconciler.machine_reports.place import ReportPlace, Sent
from reconciler.machine_reports.verify import ReadReport, order_of, read_report
from reconciler.manifests.parsed import Parsed
from reconciler.registry.signing_keys import KeyUnusable
from reconciler.reports.fleet.view import SeenMachine
from reconciler.sources.git.address import Remote
from reconciler.sources.git.local import LocalRepository, git_directory
from reconciler.sources.git.manifests_in_commit import read_commit
from reconciler.sources.git.objects import Tree
from reconciler.sources.git.runner import Credentials, GitFailed, GitRunner

MOST_COMMITS = 2000
FETCHED = "refs/heads/fleet"
SMALL_FILES = "2m"  # manifests and facts are; weights are not
LARGEST_FETCH = 4 << 30  # bytes, of a server that leaves nothing out
LARGEST_SEEN = 8 << 20  # bytes
# What a report is worth beside another one of the same machine.
WORTH = {VERIFIED: 5, TOO_OLD: 4, UNKNOWN_KEY: 3, UNSIGNED: 2, REPLAYED: 1, FORGED: 0}

_SEEN = Codec(dict[str, int])


@dataclass(frozen=True, kw_only=True)
class ReadFleet:
    """`problems` are reports that cannot be read, are not genuine, or stand beside a better one of the same machine.
    `accepted` are machines whose key was kept now, on first use."""

    machines: tuple[SeenMachine, ...]
    problems: tuple[JudgedReport, ...]
    accepted: tuple[str, ...] = ()


class SeenReports:
    """The highest order (`order_of`) of each machine so far, in a file; "" for none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.orders: dict[str, int] = self._read() if path and os.path.lexists(path) else {}

    def _read(self) -> dict[str, int]:
        """A file that cannot be used is an error: without it a replay is not noticed."""
        try:
            data = read_whole(self._path, LARGEST_SEEN)
            parse_json(data, LARGEST_SEEN)
            return _SEEN.read_json(data)
        except OSError as error:
            why = error.strerror or "it cannot be read"
        except Misformed as error:
            why = str(error)
        hint = "remove it, where you know why: what was seen before is then forgotten"
        raise PermanentError(f"{self._path}: {why}", hint=hint, code="SeenUnusable")

    def save(self, machines: Iterable[SeenMachine]) -> None:
        """Only what is verified moves it."""
        if not self._path:
            return
        found = {one.report.machine: one.order for one in machines if one.judged.standing in (VERIFIED, TOO_OLD)}
        new = {**self.orders, **{name: max(order, self.orders.get(name, 0)) for name, order in found.items()}}
        lines = [f"{json.dumps(name)}: {order}" for name, order in sorted(new.items())]
        durable.write_file(self._path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read_fleet(
    place: ReportPlace,
    keys: KeyFolder,
    *,
    seen: Mapping[str, int],
    now: str,
    longest: float | None = None,
    accept_new: bool = False,
) -> ReadFleet:
    """`longest` seconds are accepted. With `accept_new` the key of a machine that is not known yet is kept."""
    best: dict[str, SeenMachine] = {}
    problems: list[JudgedReport] = []
    accepted: list[str] = []
    for sent in place.each():
        read = _judged(sent, keys, seen, now, longest)
        if accept_new and _accept(read, keys, accepted, problems):
            read = _judged(sent, keys, seen, now, longest)
        if read.inventory is None or read.judged.report is None:
            problems.append(read.judged)
            continue
        one = SeenMachine(
            judged=read.judged,
            report=read.judged.report,
            inventory=_slim(read.inventory),
            order=order_of(read.judged.report),
        )
        problems += _better(best, one)
    problems += [one.judged for one in best.values() if one.judged.standing in (FORGED, REPLAYED)]
    return ReadFleet(machines=tuple(best.values()), problems=tuple(problems), accepted=tuple(accepted))


def _judged(sent: Sent, keys: KeyFolder, seen: Mapping[str, int], now: str, longest: float | None) -> ReadReport:
    if sent.why:
        return ReadReport(judged=JudgedReport(entry=sent.entry, standing=UNREADABLE, why=sent.why))
    return read_report(sent.entry, sent.data, sent.signature, keys, seen=seen, now=now, longest=longest)


def _accept(read: ReadReport, keys: KeyFolder, accepted: list[str], problems: list[JudgedReport]) -> bool:
    """Whether its key was kept: that of a machine that is not known. Two reports that call themselves the same machine
    are a matter for a person: the first of them is kept, and the other is forged by it."""
    report = read.judged.report
    if read.judged.standing != UNKNOWN_KEY or report is None or not read.public:
        return False
    try:
        keys.add(report.machine, read.public)
    except KeyUnusable as error:
        problems.append(replace(read.judged, why=str(error)))
        return False
    accepted.append(report.machine)
    return True


def _better(best: dict[str, SeenMachine], one: SeenMachine) -> Iterator[JudgedReport]:
    """Keeps the one that is worth more, then the newer one. Gives the other, unless both are worth the same: an earlier
    receipt beside a report is nothing to speak of."""
    other = best.get(one.report.machine)
    if other is None:
        best[one.report.machine] = one
        return
    # guard: a report that is worth more stays
    worse, better = sorted((one, other), key=_rank)
    best[one.report.machine] = better
    if worse.judged.standing != better.judged.standing:
        yield worse.judged


def _rank(one: SeenMachine) -> tuple[int, int]:
    return WORTH[one.judged.standing], one.order


def _slim(inventory: Inventory) -> Inventory:
    """Without what no view needs: ten thousand are held."""
    return replace(
        inventory, variants=(), artifacts=(), timings=(), failures=(), fidelity=(), measured=None, summary=()
    )


@dataclass(frozen=True, kw_only=True)
class FollowedBranch:
    """The followed branch: its commits, the newest first, the manifests by model, and the Rollouts."""

    url: str = ""
    name: str = ""
    commits: tuple[str, ...] = ()
    manifests: Mapping[str, str] = field(default_factory=dict)
    rollouts: tuple[Rollout, ...] = ()


def read_server(remote: Remote, credentials: Credentials, path: str) -> FollowedBranch:
    """Of a server, into a folder that goes again: the commits, and of the newest one what is small, where the server
    can leave the rest out."""
    with tempfile.TemporaryDirectory(prefix="reconciler-fleet-") as folder:
        try:
            history = GitRunner.of(remote, os.path.join(folder, "history.git"), credentials)
            _fetch(history, remote, f"--depth={MOST_COMMITS}", "--filter=tree:0")
            commits = _commits(history, FETCHED)
            tree = os.path.join(folder, "tree.git")
            newest = history.at(tree)
            _fetch(newest, remote, "--depth=1", f"--filter=blob:limit={SMALL_FILES}")
            declared = _declared(tree, newest.text("rev-parse", "--verify", FETCHED), path)
        except GitFailed as failed:
            message = f"{remote.url}: {remote.branch} cannot be read: {failed.complaint}"
            raise TemporaryError(message, code="GitUnreachable") from None
    return FollowedBranch(
        url=remote.url,
        name=remote.branch,
        commits=commits,
        manifests={model.name: model.file for model in declared.models},
        rollouts=declared.rollouts,
    )


def _fetch(git: GitRunner, remote: Remote, *options: str) -> None:
    """Into a new repository."""
    git.run("init", "--quiet", "--bare", "--template=")
    git.fetch(remote, FETCHED, *options, limit=LARGEST_FETCH)


def read_clone(folder: str, branch: str, path: str) -> FollowedBranch:
    """Of a clone of this machine, which is only read."""
    directory = git_directory(folder)
    git = GitRunner(directory, protocols="")
    name = branch or "HEAD"
    try:
        commits = _commits(git, name)
        _, url = git.run("config", "--get", "remote.origin.url", ok=(0, 1))
        _, checked_out = git.run("symbolic-ref", "--quiet", "--short", "HEAD", ok=(0, 1))
    except GitFailed as failed:
        raise UsageError(f"{folder}: {failed.complaint}", hint="name a clone, and its branch with --branch") from None
    declared = _declared(directory, commits[0], path) if commits else Parsed()
    return FollowedBranch(
        url=url.decode(errors="replace").strip(),
        name=branch or checked_out.decode(errors="replace").strip(),
        commits=commits,
        manifests={model.name: model.file for model in declared.models},
        rollouts=declared.rollouts,
    )


def _declared(directory: str, commit: str, path: str) -> Parsed:
    with LocalRepository(directory).objects() as objects:
        return read_commit(Tree(objects, commit), path)


def _commits(git: GitRunner, name: str) -> tuple[str, ...]:
    listed = git.text("rev-list", f"--max-count={MOST_COMMITS}", "--end-of-options", name)
    return tuple(line for line in listed.splitlines() if re.fullmatch("[0-9a-f]{40,64}", line))
