"""`bench` refuses what it cannot do before it starts anything."""

import argparse
from pathlib import Path

import pytest

from reconciler.cli.verbs import bench
from reconciler.domain.errors import UsageError
from reconciler.host.lock import hold
from reconciler.host.places import install_command
from tests.at_rest import serve
from tests.machine import TestMachine, tree


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> TestMachine:
    """Serves capitals-int4; declares a second model that nobody has converted yet."""
    machine = TestMachine(folder=tmp_path_factory.mktemp("bench"))
    machine.give_model(capitals)
    machine.declare()
    serve(machine)
    machine.declare("later")
    (machine.manifests / "later.yaml").write_text(
        (machine.manifests / "later.yaml").read_text().replace("[int4]", "[int8]")
    )
    return machine


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nobody"], 1, "no manifest declares nobody"),
        (["capitals-int4", "nobody"], 1, "declared: capitals, later"),
        (["later"], 1, "later is declared, and not converted here"),
        (["later-int8"], 1, "`reconciler apply` converts it"),
        (["--runs", "0"], 64, "at least 1"),
        (["--prompt-lengths", "32,x"], 64, "expected numbers of tokens such as 32,512, got '32,x'"),
        (["--prompt-lengths", "0"], 64, "expected numbers of tokens"),
        (["--prompt-lengths", "1,2,3,4,5,6,7,8,9"], 64, "at most 8 lengths, got 9"),
        (["--html", "no/such/folder/page.html"], 64, "cannot be written"),
        (["--html", "."], 64, "cannot be written"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_what_it_refuses(machine: TestMachine, arguments: list[str], code: int, said: str) -> None:
    machine.run("plan")  # which remembers the manifests that it read, as every verb does
    before = tree(machine.root)
    done = machine.run("bench", *arguments)
    assert done.code == code, done.err
    assert said in done.err
    assert done.out == ""
    assert tree(machine.root) == before


def test_a_page_without_matplotlib_names_the_extra_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs matplotlib") as raised:
        bench.run(argparse.Namespace(html=str(tmp_path / "page.html")))
    assert raised.value.hint == install_command("bench")


def test_an_empty_machine_is_left_as_it_is(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    done = machine.run("bench")
    assert done.code == 1
    assert "nothing that is declared is converted here" in done.err
    assert not machine.root.exists()


def test_beside_a_daemon_it_says_that_nothing_is_recorded(machine: TestMachine) -> None:
    """Also where nobody reads what is said on the way."""
    arguments = ("bench", "capitals", "--runs", "1", "--quiet")
    with hold(str(machine.root / "lock"), command="run"):
        assert machine.run(*arguments, "-o", "json").json()["recorded"] is False
        assert "nothing was recorded: another reconciler is at work here" in machine.run(*arguments).out
    assert "nothing was recorded" not in machine.run(*arguments).out


def test_what_the_runtime_refuses_is_told_and_nothing_is_left(machine: TestMachine) -> None:
    """The weights of this machine were made up."""
    before, index = tree(machine.root / "served"), tree(machine.cache)
    done = machine.run("bench", "capitals", "--runs", "1")
    assert done.code == 1, done.err
    assert "capitals-int4: run 1 of 1" in done.err
    assert "capitals-int4: failed: " in done.err
    assert "could not be measured" in done.out
    assert (tree(machine.root / "served"), tree(machine.cache)) == (before, index)
    assert machine.run("verify").code == 0
