"""Slips of the hand on the command line: told in one line, with what was probably meant."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.reports.diff_render import group_title
from reconciler.reports.render import plan_text
from tests.machine import TestMachine

OPTIONS = {
    ("apply", "--confrim"): "did you mean --confirm?",
    ("status", "--ouput", "json"): "did you mean --output?",
    ("plan", "--detailed-exit-code"): "did you mean --detailed-exitcode?",
    ("plan", "--asume-runtime=a=1"): "did you mean --assume-runtime?",
    ("validate", "--root", "x"): "`reconciler validate` needs no machine: leave --root out",
    ("plan", "--zzz"): "`reconciler plan --help` lists the options",
    ("aply",): "did you mean `reconciler apply`?",
}


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    return one


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_what_was_probably_meant_is_named(words: tuple[str, ...], machine: TestMachine) -> None:
    done = machine.run(*words)
    assert done.code == 64
    assert OPTIONS[words] in done.err


def test_the_demo_says_what_it_lacks_before_its_first_step(machine: TestMachine) -> None:
    """Also its --help is there without git, which GitPython is not."""
    nowhere = {"PATH": str(machine.folder)}
    assert machine.run("demo", "--help", **nowhere).code == 0
    done = machine.run("demo", **nowhere)
    assert (done.code, done.out, "git cannot be found" in done.err) == (1, "", True)


def test_a_folder_without_manifests_is_told(machine: TestMachine) -> None:
    empty = machine.folder / "empty"
    empty.mkdir()
    done = machine.run("plan", "--path", str(empty))
    assert done.code == 0
    assert f"warning: {empty}: expected manifests (*.yaml, *.yml), found none" in done.err
    machine.declare()
    assert "found none" not in machine.run("plan").err


def _a_file(cache: Path) -> None:
    cache.write_text("")


def _closed(cache: Path) -> None:
    cache.mkdir()
    (cache / "foundry.modelinfo.json").write_text("{}")
    cache.chmod(0)


@pytest.mark.parametrize(("spoil", "hint"), [(_a_file, "a file stands where the cache"), (_closed, "let this user")])
def test_a_cache_that_cannot_be_used_says_what_to_do(
    spoil: Callable[[Path], None], hint: str, machine: TestMachine
) -> None:
    if spoil is _closed and os.geteuid() == 0:
        pytest.skip("root can read everything")
    machine.declare()
    cache = machine.folder / "other"
    spoil(cache)
    done = machine.run("plan", "--cache", str(cache))
    assert done.code == 1
    assert f"hint: {hint}" in done.err
    assert "Errno" not in done.err


def test_what_a_machine_is_does_not_stand_in_the_repository(machine: TestMachine) -> None:
    machine.manifests.mkdir(parents=True)
    text = "apiVersion: reconciler.foundry/v1alpha1\nkind: {kind}\nmetadata: {{name: edge-7}}\n"
    for kind in ("Machine", "MachineConfig"):
        (machine.manifests / "edge.yaml").write_text(text.format(kind=kind))
        done = machine.run("validate")
        assert done.code == 1
        assert "stands in its own config.yaml" in done.err


def test_a_plan_names_the_models_that_are_not_for_this_machine() -> None:
    empty = {name: [] for name in ("changes", "held", "later", "gates", "policies", "problems", "warnings")}
    elsewhere = [{"model": "rivers", "message": "site is lab, wants shop"}]
    said = plan_text({"revision": "", **empty, "notSelected": elsewhere})
    assert ". rivers: not for this machine: site is lab, wants shop\n" in said


def test_two_reports_of_one_name_are_told_apart_by_their_files() -> None:
    report = {"name": "edge", "file": "fleet/a.json", "ageDays": 0.0, "old": False}
    group = {"machines": [report | {"ambiguous": True}, report | {"name": "shop", "ambiguous": False}]}
    title = group_title(group)
    assert "edge in fleet/a.json (" in title
    assert " shop (" in title
