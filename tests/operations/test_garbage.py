"""What gc finds and frees, thing by thing: each is planted on a machine at rest, and everything else stays."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.domain.quarantine import Ages
from reconciler.engine.machine import locked_machine
from reconciler.engine.planning import take_snapshot
from reconciler.operations import garbage
from reconciler.operations.garbage import LOGS_KEPT, Garbage, GarbageOptions, find, free
from reconciler.operations.verify import verify
from reconciler.reports.checks import FAILED, FREED, KEPT, WOULD, Item
from reconciler.sources.manifests import load
from tests.at_rest import TREE, opened
from tests.machine import REPOSITORY, TestMachine, tree

MONTH = 30 * 86_400.0
YEARS_AGO = "1600000000000000000"
BUILD_KEY = "sha256:" + "b" * 64
SOURCE = "c" * 64


def found(machine: TestMachine, **wish: bool) -> list[Garbage]:
    at = opened(machine)
    seen = take_snapshot(at, load(str(machine.manifests)), confirm=wish.get("confirm", False))
    return find(at, seen, GarbageOptions(older_than=MONTH, **wish))


def going(machine: TestMachine, **wish: bool) -> dict[str, int]:
    """Bytes by kind and what."""
    return {f"{t.item.kind} {t.item.what}": t.item.bytes for t in found(machine, **wish) if t.item.status == WOULD}


def kept(machine: TestMachine, **wish: bool) -> dict[str, str]:
    return {f"{t.item.kind} {t.item.what}": t.item.why for t in found(machine, **wish) if t.item.status == KEPT}


def collect(machine: TestMachine, **wish: bool) -> list[Item]:
    told: list[Item] = []
    with locked_machine(str(machine.root), str(machine.cache), command="gc") as at:
        seen = take_snapshot(at, load(str(machine.manifests)), confirm=wish.get("confirm", False))
        done = free(at, seen, find(at, seen, GarbageOptions(older_than=MONTH, **wish)), told.append)
    assert told == [item for item in done if item.status != KEPT]
    return told


def put(machine: TestMachine, name: str, data: bytes = b"x" * 5000) -> Path:
    path = machine.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def age(path: Path, seconds: float = 2 * MONTH) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def artifact(machine: TestMachine) -> None:
    """Built once, and no manifest knows it any more. It shares its tokenizer with what is served."""
    with locked_machine(str(machine.root), str(machine.cache), command="test") as at:
        staged = Path(at.layout.at("staging", "built"))
        staged.mkdir(parents=True)
        for name, data in TREE.items():
            (staged / name).write_bytes(b"other" * 40_000 if name.endswith(".data") else data)
        at.store.put(BUILD_KEY, str(staged), {"name": "gone"})
        for left in staged.iterdir():
            left.unlink()
        staged.rmdir()
        at.stamps.save()


def old_logs(machine: TestMachine) -> None:
    for number in range(LOGS_KEPT + 1):
        age(put(machine, f"logs/convert-20260101T0000{number:02d}-int4-x.log"))
    age(put(machine, "logs/foundry.log"))


def quarantined(machine: TestMachine) -> None:
    put(machine, f"quarantine/{YEARS_AGO}/theirs")
    opened(machine).records.save_quarantine_ages(Ages(looked=1.0, seconds={YEARS_AGO: 8 * 86_400.0}))


# What is planted, and what then goes.
PLANTED: dict[str, tuple[Callable[[TestMachine], object], list[str]]] = {
    "an artifact": (artifact, [f"artifact {BUILD_KEY}"]),
    "a blob that nothing names": (
        lambda m: put(m, f"oci/blobs/sha256/{'d' * 64}"),
        [f"blob oci/blobs/sha256/{'d' * 64}"],
    ),
    "a source": (lambda m: put(m, f"sources/hub/{SOURCE}/model.safetensors"), [f"source sha256:{SOURCE}"]),
    "half of a source": (
        lambda m: put(m, f"sources/hub/partial/{SOURCE}/model.safetensors.part"),
        [f"source sha256:{SOURCE}"],
    ),
    "staging": (lambda m: put(m, "staging/x/y"), ["half-made staging/x"]),
    "trash": (lambda m: put(m, "trash/x/y"), ["half-made trash/x"]),
    "trash of the shelf": (lambda m: put(m, "sources/hub/trash/x"), ["half-made sources/hub/trash/x"]),
    "an unfinished write": (
        lambda m: put(m, "records/variants/.x.json.0123abcd.tmp"),
        ["half-made records/variants/.x.json.0123abcd.tmp"],
    ),
    "a torn fetch": (
        lambda m: put(m, "mirror.git/objects/pack/tmp_pack_x"),
        ["half-made mirror.git/objects/pack/tmp_pack_x"],
    ),
    "old logs": (old_logs, ["log logs/convert-20260101T000000-int4-x.log"]),
    "a damaged record of long ago": (
        lambda m: age(put(m, "records/machine.json.damaged-1")),
        ["set-aside records/machine.json.damaged-1"],
    ),
    "an outlived quarantine": (quarantined, [f"quarantine quarantine/{YEARS_AGO}"]),
}


@pytest.mark.parametrize("case", PLANTED)
def test_it_is_found_and_freed_and_nothing_else_is(machine: TestMachine, case: str) -> None:
    plant, expected = PLANTED[case]
    assert going(machine) == {}
    before = tree(machine.root / "served") | tree(machine.root / "oci" / "blobs")
    plant(machine)
    planted = tree(machine.folder)
    assert [*going(machine)] == expected
    assert tree(machine.folder) == planted, "a dry run writes nothing"
    assert [f"{one.kind} {one.what}" for one in collect(machine) if one.status == FREED] == expected
    assert going(machine) == {}
    assert tree(machine.root / "served") | tree(machine.root / "oci" / "blobs") == before
    assert collect(machine) == []
    assert verify(opened(machine)) == ()


def test_every_kind_is_planted_and_on_the_page() -> None:
    planted = {name.partition(" ")[0] for _, expected in PLANTED.values() for name in expected}
    page = (REPOSITORY / "docs" / "disk.md").read_text()
    source = Path(garbage.__file__).read_text(encoding="utf-8")
    assert planted | {"export"} == set(re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE))
    assert planted | {"export"} == set(re.findall(r'\b_item\("([a-z-]+)"', source))


def test_shared_bytes_count_once_and_only_when_the_last_name_goes(machine: TestMachine) -> None:
    """The tokenizer of the artifact is also that of what is served; one file of staging has a name elsewhere."""
    artifact(machine)
    own = sum(path.stat().st_blocks * 512 for path in (machine.root / "oci" / "blobs").rglob("*") if path.is_file())
    free_now = going(machine)[f"artifact {BUILD_KEY}"]
    assert 200_000 <= free_now < own
    path = put(machine, "staging/a/one")
    size = path.stat().st_blocks * 512
    (machine.root / "staging" / "b").mkdir()
    os.link(path, machine.root / "staging" / "b" / "two")
    assert (going(machine)["half-made staging/a"], going(machine)["half-made staging/b"]) == (0, size)
    os.link(path, machine.folder / "kept by somebody")
    assert (going(machine)["half-made staging/a"], going(machine)["half-made staging/b"]) == (0, 0)
    (freed,) = (one for one in collect(machine) if one.kind == "artifact")
    assert freed.bytes == free_now


WHY: dict[str, tuple[Callable[[TestMachine], object], str, str]] = {
    "declared": (lambda m: None, "artifact", "capitals-int4 is declared"),
    "an invalid manifest": (
        lambda m: (artifact(m), put(m, "../fleet/manifests/x.yaml", b"kind: Nonsense\n")),
        f"artifact {BUILD_KEY}",
        "a manifest is invalid, and may want it",
    ),
    "nothing declared": (
        lambda m: (artifact(m), (m.manifests / "capitals.yaml").unlink()),
        f"artifact {BUILD_KEY}",
        "capitals-int4 waits for a confirmation (NothingDeclared)",
    ),
    "a served folder that nobody can read": (
        lambda m: (artifact(m), put(m, "served/other/7/x")),
        f"artifact {BUILD_KEY}",
        "a served folder of other cannot be read",
    ),
    "a source under an invalid manifest": (
        lambda m: (put(m, f"sources/hub/{SOURCE}/x"), put(m, "../fleet/manifests/x.yaml", b"kind: Nonsense\n")),
        f"source sha256:{SOURCE}",
        "a manifest is invalid, and may want it",
    ),
    "in quarantine since today": (
        lambda m: put(m, f"quarantine/{time.time_ns()}/theirs"),
        "quarantine",
        "it may belong to someone else, and stays for 7.0 days more",
    ),
    "a damaged record of today": (
        lambda m: put(m, "records/machine.json.damaged-1"),
        "set-aside",
        "it shows what was damaged",
    ),
    "an export of an unread repository": (
        lambda m: put(m, f"sources/{'e' * 40}/model.safetensors"),
        "export",
        "the repository was not read (--repo)",
    ),
}


@pytest.mark.parametrize("case", WHY)
def test_what_is_kept_says_why_and_stays(machine: TestMachine, case: str) -> None:
    plant, what, why = WHY[case]
    plant(machine)
    (said,) = [said for name, said in kept(machine).items() if name.startswith(what)]
    assert said.startswith(why)
    assert going(machine) == {}
    before = tree(machine.root)
    assert collect(machine) == []
    after = tree(machine.root)
    assert {n: one for n, one in before.items() if "records" not in n and "lock" not in n}.items() <= after.items()


def test_a_confirmation_frees_what_an_empty_declaration_keeps(machine: TestMachine) -> None:
    artifact(machine)
    (machine.manifests / "capitals.yaml").unlink()
    assert [*going(machine, confirm=True)] == [f"artifact {BUILD_KEY}"]
    assert [one.status for one in collect(machine, confirm=True)] == [FREED]
    assert len(kept(machine, confirm=True)) == 1  # what is served: `apply --confirm` prunes it, never gc


def test_an_export_that_no_manifest_names_goes_once_the_repository_was_read(machine: TestMachine) -> None:
    path = put(machine, f"sources/{'e' * 40}/model.safetensors")
    assert [*going(machine, from_repository=True)] == [f"export sources/{'e' * 40}"]
    assert [one.status for one in collect(machine, from_repository=True)] == [FREED]
    assert not path.parent.exists()


@pytest.mark.parametrize("folder", ["staging", "trash", "quarantine", "logs", "sources", "mirror.git"])
def test_a_folder_that_is_a_link_is_not_entered(machine: TestMachine, folder: str) -> None:
    """Whatever it leads to is somebody's, by whatever names."""
    theirs = machine.folder / "theirs"
    for name in ("x", YEARS_AGO, "convert-20260101T000000-x.log", "hub/trash/y", f"{'e' * 40}/z", "objects/tmp_x"):
        (theirs / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / name).write_bytes(b"mine")
    before = tree(theirs)
    path = machine.root / folder
    if path.exists():
        path.rename(machine.folder / "aside")
    path.symlink_to(theirs)
    assert going(machine, from_repository=True) == {}
    assert collect(machine, from_repository=True) == []
    assert tree(theirs) == before


def test_what_cannot_go_keeps_nothing_else(machine: TestMachine) -> None:
    put(machine, "staging/a/x")
    artifact(machine)
    put(machine, "trash/x/y")
    with locked_machine(str(machine.root), str(machine.cache), command="gc") as at:
        seen = take_snapshot(at, load(str(machine.manifests)))
        things = find(at, seen, GarbageOptions(older_than=MONTH))
        Path(at.layout.trash).rename(machine.folder / "aside")
        Path(at.layout.trash).symlink_to(machine.folder / "aside")
        done = free(at, seen, things, lambda item: None)
    told = {one.kind + " " + one.what: (one.status, one.why) for one in done if one.status != KEPT}
    assert told["half-made trash/x"] == (FAILED, "a link stands in the way")
    assert told[f"artifact {BUILD_KEY}"][0] == FREED
    assert (machine.folder / "aside" / "x" / "y").exists()


def test_the_command(machine: TestMachine) -> None:
    artifact(machine)
    path = ("--path", str(machine.manifests))
    dry = machine.run("gc", "--dry-run", "--kept", *path)
    assert dry.code == 0, dry.err
    first, second, total = dry.out.splitlines()
    assert first.startswith(f"would free artifact {BUILD_KEY} (")
    assert first.endswith("): nothing uses it")
    assert second.startswith("kept artifact sha256:")
    assert total.endswith("would be freed")
    with locked_machine(str(machine.root), str(machine.cache), command="test"):
        assert machine.run("gc", *path).code == 11
        busy = machine.run("gc", "--dry-run", *path)
        assert (busy.code, f"note: the root is held by pid {os.getpid()} on " in busy.err) == (0, True)
    done = machine.run("gc", "-o", "json", *path)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert [(one["status"], one["what"]) for one in said["items"]] == [("freed", BUILD_KEY)]
    assert said["bytes"] == said["items"][0]["bytes"] > 200_000
    assert not said["dryRun"]
    events = [one for one in opened(machine).records.events() if one["type"] in ("prune.done", "gc.freed")]
    assert [one["type"] for one in events] == ["prune.done", "gc.freed"]
    again = machine.run("gc", *path)
    assert (again.code, again.out) == (0, "nothing to free\n")
    (machine.manifests / "bad.yaml").write_text("kind: Nonsense\n")
    assert machine.run("gc", *path).code == 3
