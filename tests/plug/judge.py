"""Judge one state that a power cut may leave, by all that is promised (tests/plug/promises.py)."""

import os
from dataclasses import dataclass

from tests.plug import promises
from tests.plug.disk import Choice, Disk, Tree, is_hidden
from tests.plug.promises import Look
from tests.plug.recording import Data, Entry, Event, Sync, Tape

BESIDE = ("partial", "facts")  # below sources/: not named by what they hold


@dataclass(slots=True)
class Played:
    """A recording at one point. `shown`: what the catalog ever listed, id -> release."""

    shown: dict[str, str]
    open: bool = False  # Foundry Local has renamed its catalog, and nobody has flushed it yet

    def after(self, event: Event, disk: Disk) -> None:
        if not isinstance(event, Sync):
            self.open = _is_theirs(event, disk)


class Judge:
    """What must hold is known from the beginning and the end of the recording. Where something was damaged before, what
    any moment of an undisturbed run showed is excused."""

    def __init__(self, tape: Tape, top: str, *, damaged: bool) -> None:
        self._tape, self._top, self._damaged = tape, top, damaged
        begun, ended = Disk(tape), Disk(tape)
        while ended.played < len(tape.events):
            ended.play()
        self._first, last = self._look(begun.tree()), self._look(ended.tree())
        names = {one.rpartition(":")[0] for one in last.listed or {}}
        served = {one.rpartition(":")[0] for one in self._first.listed or {}}
        self._pruned = (served | self._first.variants().keys()) - names
        self._wanted = served & names
        self._recorded = {name for name, one in self._first.variants().items() if one["release"] is not None}
        self._whole = {
            folder: files
            for one in (self._first, last)
            for folder, files in one.below.items()
            if "/sources/" in folder and not is_hidden(f"{folder}/x") and not folder.endswith(BESIDE)
        }
        self._accepted = _accepted(last) if _accepted(last) != _accepted(self._first) else ""
        self.excused: set[str] = set()

    def _look(self, tree: Tree) -> Look:
        return Look(self._tape, tree, self._top)

    def problems(
        self, disk: Disk, choice: Choice | None, tree: Tree, point: Played, objects: dict[str, str]
    ) -> list[str]:
        seen = self._look(tree)
        if seen.listed is None and point.open:  # it is Foundry Local that flushes nothing: docs/critiques.md
            return []
        found = [
            *promises.wrong_releases(seen),
            *promises.wrong_copies(seen),
            *promises.ownerless(seen),
            *promises.damaged_records(seen),
        ]
        found += ["the catalog is torn"] if seen.listed is None else []
        found += promises.unbacked_records(seen, self._pruned)
        found += promises.forgotten_releases(seen, self._recorded)
        found += promises.wrong_history(seen, self._pruned)
        found += promises.unbacked_store(seen)
        found += promises.torn_sources(seen, self._whole)
        found += promises.given_again(seen, point.shown)
        found += promises.not_served(seen, self._wanted)
        found += promises.forgotten_commits(seen, self._accepted, objects)
        if choice is not None:
            found += promises.lying_stamps(seen, _zeros(disk, choice))
        return [one for one in found if one not in self.excused]

    def step(self, disk: Disk, point: Played) -> dict[str, str]:
        """After one event: what anybody may have seen by now. Returns the objects of the mirror."""
        tree = disk.tree()
        for identity, (_, properties) in (self._look(tree).listed or {}).items():
            point.shown[identity] = properties.get("reconciler_release", "")
        if self._damaged or disk.played == 0:
            self.excused |= {*self.problems(disk, None, tree, point, {})}
        return {
            path: one[1]
            for path, one in tree.items()
            if path.startswith("root/mirror.git/objects/") and one[0] == "file"
        }


def _accepted(look: Look) -> str:
    machine = look.sealed("root/records/machine.json") or {"accepted": ()}
    return next((one["commit"] for one in machine["accepted"]), "")


def _zeros(disk: Disk, choice: Choice) -> dict[str, str]:
    """Files of the right size that lost their bytes, by inode and what they held, with their paths in the last tree."""
    return {
        f"{inode} {disk.data[inode][-1].content}": disk.at[inode]
        for inode, how in choice.torn
        if how == "zeros" and inode in disk.at and disk.file(inode, how)[0] != disk.data[inode][-1].content
    }


def _is_theirs(event: Entry | Data, disk: Disk) -> bool:
    """Whether it happened to a file directly in Foundry Local's folder."""
    disk.tree()
    where = disk.at.get(event.folder if isinstance(event, Entry) else event.inode, "")
    return where == "cache" if isinstance(event, Entry) else os.path.dirname(where) == "cache"
