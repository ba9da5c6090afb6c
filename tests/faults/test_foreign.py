"""Nothing foreign is ever changed: random trees with look-alike names, links, foreign models in the same catalog and
folders of another owner; whatever is planned and carried out, every foreign byte is still there."""

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.errors import ReconcilerError
from reconciler.engine.executor import carry_out
from reconciler.engine.machine import locked_machine
from reconciler.engine.pass_context import PassContext
from reconciler.engine.planning import take_snapshot
from reconciler.host.codec import seal, unseal
from reconciler.operations.verify import verify
from reconciler.sources.manifests import load
from tests.at_rest import edit_catalog, entry, opened, serve
from tests.machine import TestMachine
from tests.trust import NIGHTLY, RESULTS, record

TREES = 500 if RESULTS or NIGHTLY else 60
MODELS = ("a", "b", "c")
NAMES = ("a-int4", "b-int4", "c-int4", "a-int8", "a-int4-old", "A-int4", "a-int44", "x", "a-int4.bak")
NUMBERS = ("1", "2", "7", "01", "1.bak", "-1", "1 ", "latest")


class Foreign:
    """Plants what is not ours; each file has bytes of its own, and `marks` holds them all."""

    def __init__(self, machine: TestMachine, draw: random.Random) -> None:
        self.machine, self.draw = machine, draw
        self.outside = machine.folder / "outside"
        self.marks: set[bytes] = set()

    def file(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = f"foreign {len(self.marks)}".encode()
        self.marks.add(mark)
        path.write_bytes(mark)
        return path

    def place(self) -> Path:
        return self.machine.root / "served" / self.draw.choice(NAMES) / self.draw.choice(NUMBERS)

    def folder(self) -> None:
        path = self.place()
        if not path.exists():
            self.file(path / "genai_config.json")

    def another_owner(self) -> None:
        """A whole release, as a root beside ours has it."""
        path = self.place()
        if path.exists():
            return
        shutil.copytree(self.machine.folder / "saved" / "root" / "served" / "b-int4" / "1", path)
        marker = path / "release.json"
        said = unseal(marker.read_bytes()) | {"owner": "f" * 32, "variant": path.parent.name}
        marker.chmod(0o644)
        marker.write_bytes(seal(said))
        self.file(path / "mine.txt")

    def link_to_folder(self) -> None:
        path = self.place()
        target = self.file(self.outside / f"t{len(self.marks)}" / "model.onnx").parent
        if not path.exists() and not path.is_symlink():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)

    def repointed(self) -> None:
        """One of our folders went, and a link of its name leads to somebody's copy."""
        path = self.machine.root / "served" / f"{self.draw.choice(MODELS)}-int4" / "1"
        if path.is_symlink() or not path.is_dir():
            return
        copy = self.outside / f"copy{len(self.marks)}"
        shutil.move(path, copy)
        self.file(copy / f"m{len(self.marks)}")
        path.symlink_to(copy)

    def linked_variant(self) -> None:
        """All of a variant went elsewhere, and a link leads there."""
        path = self.machine.root / "served" / f"{self.draw.choice(MODELS)}-int4"
        if path.is_symlink() or not (path / "1").is_dir():
            return
        elsewhere = self.outside / f"v{len(self.marks)}"
        elsewhere.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, elsewhere)
        self.file(elsewhere / "1" / f"m{len(self.marks)}")
        path.symlink_to(elsewhere)

    def taken_over(self) -> None:
        """Where one of our folders was, another root has its own now."""
        path = self.machine.root / "served" / f"{self.draw.choice(MODELS)}-int4" / "1"
        if path.parent.is_symlink() or path.is_symlink() or not path.is_dir():
            return
        marker = path / "release.json"
        if not marker.is_file():
            return
        said = unseal(marker.read_bytes()) | {"owner": "f" * 32}
        marker.unlink()
        marker.write_bytes(seal(said))
        self.file(path / f"m{len(self.marks)}")

    def taken_registration(self) -> None:
        """Under one of our ids another application has registered its own."""
        where = str(self.file(self.outside / f"q{len(self.marks)}" / "genai_config.json").parent)
        name = f"{self.draw.choice(MODELS)}-int4:1"
        theirs = entry(name, where, {"reconciler_owner": "f" * 32})
        self.catalog(lambda entries: {n: theirs if n == name else one for n, one in entries.items()})

    def hard_link(self) -> None:
        path = self.machine.root / "served" / f"{self.draw.choice(MODELS)}-int4" / "1" / f"h{len(self.marks)}"
        if path.parent.is_dir():
            os.link(self.file(self.outside / f"h{len(self.marks)}"), path)

    def link_inside(self) -> None:
        path = self.machine.root / "served" / f"{self.draw.choice(MODELS)}-int4" / "1" / "tokenizer.json"
        target = self.file(self.outside / f"l{len(self.marks)}")
        if path.is_file():
            path.unlink()
            path.symlink_to(target)

    def beside(self) -> None:
        self.file(self.machine.root / "served" / self.draw.choice(NAMES) / f"n{len(self.marks)}")

    def registration(self) -> None:
        """Of another application, in the same catalog."""
        where = self.file(self.outside / f"r{len(self.marks)}" / "genai_config.json").parent
        owner = self.draw.choice(({}, {"reconciler_owner": "f" * 32}))
        name = f"{self.draw.choice(NAMES)}:{self.draw.randint(3, 9)}"
        self.catalog(lambda entries: {name: entry(name, str(where), owner), **entries})

    def stolen_registration(self) -> None:
        """Ours, but it leads to somebody's folder now."""
        where = str(self.file(self.outside / f"s{len(self.marks)}" / "genai_config.json").parent)
        name = f"{self.draw.choice(MODELS)}-int4:1"
        self.catalog(lambda e: {n: one | {"model_path": where} if n == name else one for n, one in e.items()})

    def catalog(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        edit_catalog(self.machine, change)

    def lost_records(self) -> None:
        shutil.rmtree(self.machine.root / "records", ignore_errors=True)

    def lost_marker(self) -> None:
        path = self.machine.root / "served" / f"{self.draw.choice(MODELS)}-int4" / "1" / "release.json"
        path.unlink(missing_ok=True)


PLANTS = [name for name in vars(Foreign) if name not in ("file", "place", "catalog") and not name.startswith("_")]
# What can happen to our own between a plan and its steps.
SWAPS = ("repointed", "linked_variant", "taken_over", "taken_registration", "stolen_registration", "link_inside")


class Catalog:
    """Foundry Local's side of a removal or a repair."""

    def __init__(self, machine: TestMachine) -> None:
        self.machine = machine
        self.serving = self

    def unregister(self, identity: str) -> None:
        edit_catalog(self.machine, lambda entries: {n: one for n, one in entries.items() if n != identity})

    def register(self, path: str, identity: str, properties: dict[str, str]) -> None:
        edit_catalog(self.machine, lambda entries: {**entries, identity: entry(identity, path, properties)})


def outside(foreign: Foreign) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(foreign.outside.rglob("*")):
        mode = path.lstat().st_mode
        found[str(path)] = (mode, path.read_bytes() if path.is_file() else b"")
    return found


def foreign_registrations(machine: TestMachine, owner: str) -> dict[str, str]:
    return {
        name: json.dumps(one, sort_keys=True)
        for name, one in machine.index().items()
        if one["model_info"]["stringProperties"].get("reconciler_owner") != owner
    }


def marks_below(folder: Path) -> set[bytes]:
    found = set()
    for path in folder.rglob("*"):
        if not path.is_symlink() and path.is_file() and path.stat().st_size < 40:
            found.add(path.read_bytes())
    return found


def pass_over(machine: TestMachine, between: Callable[[], object] = lambda: None) -> int:
    """Everything that is planned, with the confirmation given; `between` happens before it is carried out. Returns how
    many steps removed something."""
    removed = 0
    with locked_machine(str(machine.root), str(machine.cache), command="test") as at:
        seen = take_snapshot(at, load(str(machine.manifests)), confirm=True)
        between()
        workers: Any = Catalog(machine)
        context = PassContext(machine=at, workers=workers, resolution=seen.resolution)
        for change in seen.plan.changes:
            if change.action in ("prune", "retire", "repair"):
                with contextlib.suppress(ReconcilerError):
                    carry_out(change, context)
                    removed += change.action != "repair"
    return removed


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    for name in MODELS:
        one.declare(name)
    serve(one)
    assert verify(opened(one)) == ()
    for name in ("root", "cache", "fleet/manifests"):
        shutil.copytree(tmp_path / name, tmp_path / "saved" / name)
    return one


def restore(machine: TestMachine) -> None:
    for name in ("root", "cache", "fleet/manifests", "outside"):
        shutil.rmtree(machine.folder / name, ignore_errors=True)
        if (machine.folder / "saved" / name).exists():
            shutil.copytree(machine.folder / "saved" / name, machine.folder / name)


def test_no_foreign_byte_changes_over_random_trees(machine: TestMachine) -> None:
    planted = removed = 0
    for seed in range(TREES):
        restore(machine)
        draw = random.Random(seed)
        foreign = Foreign(machine, draw)
        for name in draw.choices(PLANTS, k=draw.randint(1, 6)):
            if name != "__init__":
                getattr(foreign, name)()
        for model in draw.sample(MODELS, draw.randint(0, len(MODELS))):
            (machine.manifests / f"{model}.yaml").unlink()
        owner = opened(machine).owner
        before, listed = outside(foreign), foreign_registrations(machine, owner)
        removed += pass_over(machine)
        assert outside(foreign) == before, seed
        assert foreign_registrations(machine, owner) == listed, seed
        assert foreign.marks <= marks_below(machine.root) | marks_below(machine.folder / "outside"), seed
        planted += len(foreign.marks)
    assert removed > TREES / 4
    record(
        "foreign",
        f"0 of {planted} foreign files changed over {TREES} random trees",
        f"{removed} removals",
        part="before",
    )


def swap(foreign: Foreign, owner: str, seen: list[object]) -> None:
    """Some of them, and into `seen` how it then is."""
    for name in foreign.draw.choices(SWAPS, k=foreign.draw.randint(1, 3)):
        getattr(foreign, name)()
    seen += [outside(foreign), foreign_registrations(foreign.machine, owner)]


def test_no_foreign_byte_changes_between_a_plan_and_its_steps(machine: TestMachine) -> None:
    """All is ours when the plan is made, and somebody is faster than we are: each step looks again."""
    removed = 0
    for seed in range(TREES // 2):
        restore(machine)
        draw = random.Random(seed)
        foreign = Foreign(machine, draw)
        for model in draw.sample(MODELS, draw.randint(1, len(MODELS))):
            (machine.manifests / f"{model}.yaml").unlink()
        owner = opened(machine).owner
        seen: list[object] = []
        removed += pass_over(machine, partial(swap, foreign, owner, seen))
        assert [outside(foreign), foreign_registrations(machine, owner)] == seen, seed
        assert foreign.marks <= marks_below(machine.root) | marks_below(machine.folder / "outside"), seed
    assert removed > TREES / 8
    record(
        "foreign",
        f"0 bytes changed over {TREES // 2} random trees that changed after the plan",
        f"{removed} removals",
        part="between",
    )


def test_only_a_mark_is_not_enough(machine: TestMachine) -> None:
    """Records and registration lost, manifest gone: the mark alone deletes nothing."""
    shutil.rmtree(machine.root / "records")
    edit_catalog(machine, lambda entries: {n: one for n, one in entries.items() if not n.startswith("a-")})
    (machine.manifests / "a.yaml").unlink()
    at = opened(machine)
    plan = take_snapshot(at, load(str(machine.manifests))).plan
    assert [(one.variant, one.reason) for one in plan.held] == [("a-int4", "Unrecorded")]
    assert not plan.changes
    confirmed = take_snapshot(at, load(str(machine.manifests)), confirm=True).plan
    assert [one.variant for one in confirmed.changes if one.variant] == ["a-int4"]
