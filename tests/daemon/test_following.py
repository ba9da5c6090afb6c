"""`reconciler run --repo`: a branch that moves, a server that goes and comes back, history that is rewritten."""

import json
import os
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.at_rest import serve
from tests.daemon.process import Daemon, running, wait_for
from tests.git_server import TEMPLATE, Repository
from tests.machine import TestMachine
from tests.waiting import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc")


class Fleet(Repository):
    """The repository that a machine's manifests lie in; a server that is down is one whose folder is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "test@example.com")
        self.git("config", "user.name", "test")

    @property
    def away(self) -> Path:
        return self.folder.with_name("away")

    def template(self, name: str) -> str:
        """A commit that changes what is declared, and nothing that is served."""
        self.write("templates/plain.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}")
        self.write(f"manifests/{name}.yaml", TEMPLATE.format(name=name, file="../templates/plain.jinja"))
        return self.commit(name)


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare(precisions="int4, int8")
    serve(one)
    (tmp_path / "fleet").rename(tmp_path / "server")
    (tmp_path / "fleet").mkdir()
    return one


@pytest.fixture
def fleet(machine: TestMachine) -> Fleet:
    one = Fleet(machine.folder / "server")
    one.commit("first")
    return one


def followed(machine: TestMachine, interval: str = "200ms") -> tuple[str, ...]:
    return ("--repo", str(machine.folder / "server"), "--allow-file", "--interval", interval)


def revisions(daemon: Daemon) -> list[str]:
    return [line["revision"].rpartition(":")[2] for line in daemon.events("pass.summary")]


def source_on_page(url: str) -> tuple[str, str, int]:
    """The commit that this machine's page shows, its subject, and how many commits it is behind."""
    with urllib.request.urlopen(f"{url}page.json", timeout=PATIENCE) as answer:
        source = json.load(answer)["source"]
    return source["commit"], source["subject"], source["behind"]


def test_a_push_is_followed_within_an_interval(machine: TestMachine, fleet: Fleet) -> None:
    with running(machine, *followed(machine), "--listen", "127.0.0.1:0") as daemon:
        url = daemon.expect("page")["url"]
        daemon.expect("ready")
        commit = fleet.template("other")
        assert wait_for(lambda: commit in revisions(daemon)), "".join(daemon.raw)
        assert wait_for(lambda: source_on_page(url) == (commit, "other", 0)), "".join(daemon.raw)
        assert daemon.events("pass.summary")[-1]["converged"]
        assert machine.run("status", "-o", "json").json()["lastAppliedRevision"] == f"main@sha1:{commit}"
        assert daemon.end() == 0


def test_a_server_that_is_gone_for_ten_intervals(machine: TestMachine, fleet: Fleet) -> None:
    victim = machine.served("capitals-int4") / "tokenizer_config.json"
    with running(machine, *followed(machine)) as daemon:
        daemon.expect("ready")
        fleet.folder.rename(fleet.away)
        assert daemon.expect("stale")["level"] == "warning"
        assert daemon.expect("declaration.warning")["code"] == "Stale"
        victim.unlink()
        assert wait_for(victim.exists), "".join(daemon.raw)
        served = sorted(path.name for path in (machine.root / "served").iterdir())
        assert served == ["capitals-int4", "capitals-int8"]
        assert not daemon.events("pass.failed")
        fleet.away.rename(fleet.folder)
        commit = fleet.template("other")
        daemon.expect("fresh")
        assert wait_for(lambda: commit in revisions(daemon)), "".join(daemon.raw)
        assert len(daemon.events("stale")) == len(daemon.events("declaration.warning")) == 1


def test_a_start_without_the_server_goes_on_with_what_was_accepted(machine: TestMachine, fleet: Fleet) -> None:
    with running(machine, *followed(machine)) as daemon:
        daemon.expect("ready")
        daemon.end()
    fleet.folder.rename(fleet.away)
    victim = machine.served("capitals-int4") / "tokenizer_config.json"
    victim.unlink()
    with running(machine, *followed(machine)) as daemon:
        assert wait_for(victim.exists), "".join(daemon.raw)
        daemon.expect("stale")


def test_after_a_start_it_goes_on_with_what_was_accepted_and_asks_in_its_turn(
    machine: TestMachine, fleet: Fleet
) -> None:
    """A fleet whose power comes back does not ask at once; a hook or SIGHUP need not wait."""
    with running(machine, *followed(machine)) as daemon:
        daemon.expect("ready")
        daemon.end()
    first, commit = fleet.git("rev-parse", "HEAD").strip(), fleet.template("other")
    with running(machine, *followed(machine, "2s")) as daemon:
        daemon.expect("pass.summary", 2)
        assert revisions(daemon)[0] == first
        assert wait_for(lambda: commit in revisions(daemon)), "".join(daemon.raw)
        assert not daemon.events("stale")
    fleet.template("third")
    newest = fleet.git("rev-parse", "HEAD").strip()
    with running(machine, *followed(machine, "1h")) as daemon:
        assert daemon.expect("pass.summary")["revision"].endswith(commit)
        daemon.send(signal.SIGHUP)
        assert daemon.woken_by("sighup")["revision"].endswith(newest)


def test_a_first_start_without_the_server_waits_for_it(machine: TestMachine, fleet: Fleet) -> None:
    fleet.folder.rename(fleet.away)
    with running(machine, *followed(machine)) as daemon:
        assert daemon.expect("pass.failed")["code"] == "GitUnreachable"
        fleet.away.rename(fleet.folder)
        assert daemon.expect("pass.summary")["converged"]
        assert daemon.events("pass.summary")[0]["woken"] == ["retry"]


def test_rewritten_history_is_refused_and_nothing_is_pruned(machine: TestMachine, fleet: Fleet) -> None:
    accepted = fleet.template("other")
    with running(machine, *followed(machine)) as daemon:
        daemon.expect("ready")
        fleet.git("rm", "-q", "manifests/capitals.yaml")
        fleet.commit("rewritten", "--amend")
        problem = daemon.expect("declaration.problem")
        assert problem["code"] == "HistoryRewritten"
        assert revisions(daemon)[-1] == accepted
        assert len(machine.index()) == 2


def test_an_unmoved_branch_costs_one_git_process(machine: TestMachine, fleet: Fleet) -> None:
    """Counted by a `git` of ours that is first on the PATH."""
    counter, folder = machine.folder / "calls", machine.folder / "bin"
    folder.mkdir()
    script = folder / "git"
    script.write_text(f'#!/bin/sh\necho "$@" >> "{counter}"\nPATH="$RECONCILER_OLD_PATH" exec git "$@"\n')
    script.chmod(0o755)
    path = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "RECONCILER_OLD_PATH": os.environ["PATH"]}
    with running(machine, *followed(machine, "100ms"), **path) as daemon:
        daemon.expect("ready")
        counter.write_text("")
        assert wait_for(lambda: len(counter.read_text().splitlines()) > 10), "".join(daemon.raw)
        assert all(" ls-remote " in line for line in counter.read_text().splitlines())
