"""Rollouts from a clone: how far they have come, by all reports of a fleet; and a change of one in git, as a commit or
a patch."""

import difflib
import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reconciler.domain.errors import PermanentError, UsageError
from reconciler.domain.machine_report import VERIFIED, MachineReport
from reconciler.domain.rollout import Rollout
from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.host.reading import read_whole
from reconciler.machine_reports.keys import KeyFolder, entry_name
from reconciler.machine_reports.place import ReportPlace
from reconciler.manifests.parsed import Parsed
from reconciler.operations import fleet
from reconciler.planner.rollout_status import CandidateProgress, progress

GIT_TIME = 120.0  # seconds
Edit = Callable[[str, str], str]  # from a text and its file's name to the new text


@dataclass(frozen=True, kw_only=True)
class FleetReports:
    """The newest report of each machine that counts, what does not count and why, and all machines that are known;
    `missing` are those of them without a report that counts."""

    reports: tuple[MachineReport, ...]
    doubted: tuple[str, ...]
    names: frozenset[str]
    missing: frozenset[str] = frozenset()


def read_fleet(place: ReportPlace, keys: str) -> FleetReports:
    """`keys` is the folder of the machines' keys."""
    folder = KeyFolder(keys)
    found = fleet.read_fleet(place, folder, seen={}, now=now())
    reports = {one.report.machine: one.report for one in found.machines if one.judged.standing == VERIFIED}
    judged = (*found.problems, *(one.judged for one in found.machines if one.judged.standing != VERIFIED))
    doubted = dict.fromkeys(f"{one.entry} ({one.standing}: {one.why})" for one in judged)
    known = folder.names()
    return FleetReports(
        reports=tuple(reports.values()),
        doubted=tuple(doubted),
        names=known | reports.keys(),
        missing=known.difference(map(entry_name, reports)),
    )


def status(
    parsed: Parsed, reports: FleetReports | None, names: Iterable[str] = ()
) -> list[tuple[Rollout, tuple[CandidateProgress, ...]]]:
    """Of the Rollouts with these names; of all where none is named."""
    chosen = [find(parsed, name) for name in names] or list(parsed.rollouts)
    if reports is None:
        return [(one, ()) for one in chosen]
    return [(one, progress(one, reports.reports, reports.names, now(), reports.missing)) for one in chosen]


def find(parsed: Parsed, name: str) -> Rollout:
    found = next((one for one in parsed.rollouts if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in parsed.rollouts) or "none"
        raise PermanentError(f"there is no Rollout {name}", hint=f"declared: {known}", code="NotDeclared")
    return found


def candidates(found: tuple[CandidateProgress, ...], model: str = "") -> tuple[str, ...]:
    """The releases that most machines want, and that are not everywhere yet: one for each variant."""
    first: dict[str, CandidateProgress] = {}
    for one in found:
        first.setdefault(one.variant, one)
    waiting = (one for one in first.values() if one.phase not in ("Succeeded", "Aborted"))
    return tuple(dict.fromkeys(one.release for one in waiting if not model or one.variant.startswith(f"{model}-")))


@dataclass(frozen=True, kw_only=True)
class Edited:
    """A file as it is and as it is to be."""

    file: str
    before: str
    after: str

    @property
    def patch(self) -> str:
        before, after = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, f"a/{self.file}", f"b/{self.file}"))


def edited(rollout: Rollout, edits: Iterable[Edit]) -> Edited:
    before = after = read_whole(rollout.file).decode()
    for edit in edits:
        after = edit(after, rollout.file)
    return Edited(file=rollout.file, before=before, after=after)


def commit(one: Edited, message: str) -> str:
    """Commit that file alone, with the user's own git in the user's own clone: their name, hooks and signature. Returns
    the commit. Raises PermanentError; then the file is as it was."""
    if _git(one, "status", "--porcelain", "--", os.path.basename(one.file)):
        raise UsageError(
            f"{one.file} has changes that are not committed", hint="commit or undo them first, or --dry-run"
        )
    durable.write_file(one.file, one.after.encode())
    try:
        _git(one, "commit", "--quiet", "-m", message, "--", os.path.basename(one.file))
    except PermanentError:
        durable.write_file(one.file, one.before.encode())
        raise
    return _git(one, "rev-parse", "HEAD")[:12]


def _git(one: Edited, *arguments: str) -> str:
    command = ["git", "-C", os.path.dirname(os.path.abspath(one.file)), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIME, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PermanentError(f"git {arguments[0]}: {error}", code="GitFailed") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it failed").splitlines()[-1]
        hint = "--dry-run prints the change as a patch"
        raise PermanentError(f"git {arguments[0]}: {last}", hint=hint, code="GitFailed")
    return done.stdout.strip()
