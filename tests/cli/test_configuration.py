"""The configuration file: flag over environment over file, and no trust in what others can write."""

import json
import os
from pathlib import Path

import pytest

from reconciler.engine.machine import observe, recall
from reconciler.engine.resolve import resolve
from reconciler.fleet.inventory_facts import to_observed, to_recorded
from reconciler.fleet.inventory_form import read_inventory
from reconciler.host.clock import now
from reconciler.planner.plan import make_plan
from reconciler.sources.manifests import load
from tests.at_rest import opened, serve
from tests.machine import TestMachine

HEAD = "apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\n"


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    for name in ("capitals", "rivers", "cities"):
        one.declare(name)
    serve(one)
    return one


def configure(machine: TestMachine, text: str, mode: int = 0o644) -> Path:
    folder = machine.folder / "etc"
    folder.mkdir(mode=0o755, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(HEAD + text)
    path.chmod(mode)
    return path


def test_a_flag_is_stronger_than_the_environment_and_that_than_the_file(machine: TestMachine) -> None:
    path = configure(machine, "cache: /of-file\n")

    def cache(*flags: str, **environment: str) -> str:
        given = {"RECONCILER_CACHE": "", **environment}
        return machine.run("doctor", f"--config={path}", *flags, **given).out

    assert "serves /of-file " in cache()
    assert "serves /of-environment " in cache(RECONCILER_CACHE="/of-environment")
    assert "serves /of-flag " in cache("--cache", "/of-flag", RECONCILER_CACHE="/of-environment")
    assert str(path) in cache()


def test_it_is_found_by_variable_and_in_the_users_folder(machine: TestMachine) -> None:
    path = configure(machine, "name: edge-7\n")
    named = machine.run("inventory", RECONCILER_CONFIG=str(path))
    assert named.json()["machine"] == "edge-7"
    none = machine.run("inventory", RECONCILER_CONFIG="")
    assert none.json()["machine"] != "edge-7"


def test_what_it_says_decides_what_is_served(machine: TestMachine) -> None:
    selector = "  nodeSelector: {matchLabels: {site: shop}}\n"
    machine.declare("capitals", more=selector)
    shop = configure(machine, "labels: {site: shop}\n")
    assert machine.run("plan", "--config", str(shop), "-o", "json").json()["changes"] == []
    lab = configure(machine, "labels: {site: lab}\n")
    done = machine.run("plan", "--config", str(lab), "-o", "json").json()
    assert [(c["reason"], c["variant"]) for c in done["changes"]] == [("NotSelected", "capitals-int4")]
    assert done["notSelected"] == [{"model": "capitals", "message": "site is lab, wants shop"}]
    assert "site=lab" in machine.run("doctor", "--config", str(lab)).out


def test_limits_hold_a_conversion_back(machine: TestMachine) -> None:
    machine.declare("capitals", precisions="int4, int8")
    for limit in ("diskQuota: 1", "diskReserve: 1000TiB"):
        path = configure(machine, f"limits: {{{limit}}}\n")
        (held,) = machine.run("plan", "--config", str(path), "-o", "json").json()["held"]
        assert held["reason"] == "DiskInsufficient"
        assert f"limits.{limit.partition(':')[0]}" in held["message"]


def test_a_conversion_for_which_there_is_no_memory_is_held_back_and_an_option_overrides(machine: TestMachine) -> None:
    machine.declare("capitals", precisions="int4, int8")
    path = configure(machine, "conversionMemory: 64MiB\n")
    (held,) = machine.run("plan", "--config", str(path), "-o", "json").json()["held"]
    assert held["reason"] == "MemoryInsufficient"
    assert (
        "(--conversion-memory) allows 64.0 MiB, raise it where there is more: a machine with more memory"
        in held["message"]
    )
    enough = ("--conversion-memory", "2GiB")
    first = machine.run("plan", "--config", str(path), *enough, "-o", "json").json()["changes"][0]
    assert first["action"] == "convert"
    assert 1 << 29 < first["cost"]["peakMemoryBytes"] < 1 << 30
    assert ", memory 6" in machine.run("plan", "--config", str(path), *enough).out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize(("mode", "who"), [(0o646, "everybody"), (0o666, "everybody"), (0o664, "group 12345")])
def test_what_others_can_write_is_not_believed(machine: TestMachine, mode: int, who: str) -> None:
    path = configure(machine, "name: edge-7\n", mode)
    if who != "everybody":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file to another group")
        os.chown(path, -1, 12345)
    done = machine.run("inventory", "--config", str(path))
    assert done.code == 1
    assert f"{path} can be written by {who}" in done.err
    assert f"chmod go-w {path}" in done.err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_a_folder_that_others_can_write_is_not_believed(machine: TestMachine) -> None:
    path = configure(machine, "name: edge-7\n")
    path.parent.chmod(0o777)
    done = machine.run("inventory", "--config", str(path))
    assert done.code == 1
    assert f"{path.parent} can be written by everybody" in done.err
    path.parent.chmod(0o1777)
    assert machine.run("inventory", "--config", str(path)).code == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_another_users_file_is_not_believed(machine: TestMachine) -> None:
    path = configure(machine, "name: edge-7\n")
    os.chown(path, 12345, -1)
    done = machine.run("inventory", "--config", str(path))
    assert done.code == 1
    assert "belongs to another user (uid 12345)" in done.err


def test_what_cannot_be_read_is_one_clear_error(machine: TestMachine) -> None:
    missing = machine.run("plan", "--config", str(machine.folder / "none.yaml"))
    assert missing.code == 64
    assert "cannot read the configuration" in missing.err
    folder = machine.run("plan", "--config", str(machine.folder))
    assert folder.code in (1, 64)
    long = machine.run("plan", "--config", str(configure(machine, "# " + "x" * 300_000)))
    assert long.code == 1
    assert "is longer than" in long.err
    wrong = machine.run("plan", "--config", str(configure(machine, "jobs: many\n")))
    assert wrong.code == 1
    assert "config.yaml:3: jobs: expected a whole number of at least 1, got many" in wrong.err
    for done in (missing, folder, long, wrong):
        assert "Traceback" not in done.err
    helped = machine.run("plan", "--help", RECONCILER_CONFIG="/none.yaml")
    assert helped.code == 0
    assert "--config FILE" in helped.out


EDITS = {
    "nothing to do": lambda m: None,
    "a new template": lambda m: m.declare("capitals", template="llama3"),
    "a new precision": lambda m: m.declare("capitals", precisions="int4, int8"),
    "a removal": lambda m: (m.manifests / "capitals.yaml").unlink(),
    "a lost folder": lambda m: (m.served("rivers-int4") / "tokenizer.json").unlink(),
}


@pytest.mark.parametrize("edit", EDITS)
def test_the_plan_from_an_inventory_is_the_machines_own(machine: TestMachine, edit: str) -> None:
    EDITS[edit](machine)  # type: ignore[no-untyped-call]
    inventory = read_inventory(machine.run("inventory").out.encode(), "inventory.json")
    one = opened(machine)
    seen, time = observe(one), now()
    want = resolve(load(str(machine.manifests)), one.stamps, seen.artifacts).desired
    here = make_plan(want, seen, recall(one, seen), now=time)
    there = make_plan(want, to_observed(inventory), to_recorded(inventory), now=time)
    assert there.changes == here.changes
    assert there.held == here.held
    assert bool(here.changes) == (edit != "nothing to do")


def test_an_inventory_names_no_home_and_no_mark_and_is_small(machine: TestMachine) -> None:
    done = machine.run("inventory", HOME=str(machine.folder))
    assert len(json.dumps(done.json(), separators=(",", ":"))) < 10_000
    assert str(machine.folder) not in done.out
    assert opened(machine).owner not in done.out
    text = machine.run("inventory", "-o", "text").out
    assert "capitals-int4:1  ready (Served)" in text
