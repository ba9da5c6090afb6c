"""`reconciler run` as a service manager and a person have it: a real process on a machine that is really served."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from reconciler.host.codec import seal, unseal
from reconciler.host.stamps import stamp_of
from reconciler.operations.verify import verify
from tests.at_rest import edit_catalog, opened, serve
from tests.daemon.process import Daemon, running
from tests.machine import TestMachine, put, tree
from tests.waiting import is_alive, settled, until, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

LONG = ("--interval", "1h")  # what wakes these passes is not the interval


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare(precisions="int4, int8")
    serve(one)
    return one


def test_passes_without_changes_write_nothing_and_say_little(machine: TestMachine) -> None:
    with running(machine, "--interval", "100ms") as daemon:
        daemon.expect("ready")
        watched = [machine.root / "oci", machine.root / "served", machine.cache]
        before = [tree(folder) for folder in watched]
        time.sleep(1.5)
        assert len(daemon.events("pass.summary")) == 1
        assert daemon.events("pass.summary")[0]["converged"]
        until(lambda: unsaid(daemon) >= 5)
        assert [tree(folder) for folder in watched] == before
        assert daemon.end() == 0
    assert verify(opened(machine)) == ()


def unsaid(daemon: Daemon) -> int:
    """The passes that had nothing to say, before one that somebody asks for."""
    time.sleep(0.5)
    said = len(daemon.events("pass.summary"))
    daemon.send(signal.SIGHUP)
    return sum(daemon.expect("pass.summary", number + 1)["unsaid"] for number in range(said + 1))


def test_a_signal_makes_a_pass_at_once(machine: TestMachine) -> None:
    with running(machine, *LONG) as daemon:
        daemon.expect("ready")
        daemon.send(signal.SIGHUP)
        assert daemon.woken_by("sighup")["converged"]


def test_every_line_of_a_pass_names_it_and_its_revision(machine: TestMachine) -> None:
    with running(machine, *LONG) as daemon:
        daemon.expect("ready")
        daemon.send(signal.SIGHUP)
        second = daemon.woken_by("sighup")
        first = daemon.expect("pass.summary")
        assert first["pass_id"] != second["pass_id"]
        assert first["revision"] == second["revision"]
        assert first["revision"].startswith("folder@sha256:")


def test_a_changed_manifest_is_seen_at_once_and_a_bad_one_harms_no_other(machine: TestMachine) -> None:
    with running(machine, *LONG) as daemon:
        daemon.rest()
        manifest = machine.declare("second", precisions="int5")
        problem = daemon.expect("declaration.problem")
        assert (problem["file"].rpartition("/")[2], problem["line"]) == ("second.yaml", 7)
        assert daemon.woken_by("declarations")["converged"] is False
        manifest.unlink()
        daemon.expect("declaration.mended")
        until(lambda: daemon.events("pass.summary")[-1]["converged"])


def test_a_declaration_that_holds_no_model_is_told_once_everywhere(machine: TestMachine) -> None:
    manifest, off = machine.manifests / "capitals.yaml", machine.folder / "off"
    with running(machine, *LONG) as daemon:
        daemon.rest()
        manifest.rename(off)
        told = daemon.expect("prune.held")
        assert (told["code"], told["variants"]) == ("NothingDeclared", ["capitals-int4", "capitals-int8"])
        assert "--confirm" in told["hint"]
        assert "PruneConfirmation" in told["hint"]
        daemon.send(signal.SIGHUP)
        until(lambda: sum("sighup" in one["woken"] for one in daemon.events("pass.summary")) >= 2)
        assert len(daemon.events("prune.held")) == 1
        status = machine.run("status").out
        assert "capitals-int4: no manifest declares it any more, capitals-int4:1 still serves: " in status
        assert machine.run("events").out.count("NothingDeclared") >= 2
        off.rename(manifest)
        daemon.expect("prune.settled")
        until(lambda: daemon.events("pass.summary")[-1]["converged"])
    assert "NothingDeclared" not in machine.run("status").out


def test_a_served_file_that_is_deleted_is_mended_without_waiting(machine: TestMachine) -> None:
    victim = machine.served("capitals-int4") / "tokenizer_config.json"
    with running(machine, *LONG) as daemon:
        daemon.rest()
        before = len(daemon.events("pass.summary"))
        victim.unlink()
        assert wait_for(victim.exists), "".join(daemon.raw)
        assert daemon.woken_by("machine")["changes"] == 1
        # Our own writes wake one more pass, on a busy machine two or three. They change nothing; then there is calm.
        passes = settled(lambda: daemon.events("pass.summary")[before:], quiet=2.0)
        assert [one["changes"] for one in passes][1:] == [0] * (len(passes) - 1)
        assert len(passes) <= 4
        until(lambda: daemon.children() == [])
        assert daemon.end() == 0
    assert verify(opened(machine)) == ()


def test_a_broken_catalog_does_not_end_it_and_a_mended_one_is_seen_at_once(machine: TestMachine) -> None:
    index = machine.cache / "foundry.local.modelinfo.json"
    whole = index.read_bytes()
    with running(machine, *LONG) as daemon:
        daemon.rest()
        before = len(daemon.events("pass.summary"))
        put(index, "{")
        assert daemon.expect("pass.failed")["code"] == "CatalogBroken"
        put(index, whole)
        assert daemon.expect("pass.summary", before + 1)["converged"]


def test_a_manifest_folder_that_goes_and_comes_back(machine: TestMachine) -> None:
    aside = machine.manifests.with_name("aside")
    with running(machine, "--interval", "300ms") as daemon:
        daemon.expect("ready")
        machine.manifests.rename(aside)
        assert "no folder" in daemon.expect("pass.failed")["message"]
        before = len(daemon.events("pass.summary"))
        aside.rename(machine.manifests)
        daemon.expect("pass.summary", before + 1)
        until(lambda: daemon.events("pass.summary")[-1]["converged"])
    assert sorted(path.name for path in (machine.root / "served").iterdir()) == ["capitals-int4", "capitals-int8"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it(machine: TestMachine, number: signal.Signals, code: int) -> None:
    with running(machine, *LONG) as daemon:
        daemon.expect("ready")
        assert daemon.end(number) == code
        assert daemon.events("stopped")
    assert not (machine.root / "lock.holder").exists()


def test_a_signal_in_the_middle_of_a_pass_leaves_no_child(machine: TestMachine) -> None:
    edit_catalog(machine, lambda entries: {})  # two registrations to repair: the runtime is started for them
    with running(machine, *LONG) as daemon:
        assert wait_for(daemon.children), "".join(daemon.raw)
        children = daemon.children()
        assert daemon.end() == 0
        until(lambda: not any(map(is_alive, children)))


def test_a_second_one_says_who_holds_the_lock(machine: TestMachine) -> None:
    with running(machine, *LONG) as daemon:
        daemon.expect("ready")
        for verb in ("run", "apply"):
            done = machine.run(verb)
            assert done.code == 11
            assert f"held by pid {daemon.pid} on " in done.err
            assert "(reconciler run)" in done.err
            assert f"kill -HUP {daemon.pid}" in done.err


def test_the_brake_works_while_it_runs(machine: TestMachine) -> None:
    with running(machine, *LONG) as daemon:
        daemon.expect("ready")
        assert machine.run("suspend", "capitals-int4", "--reason", "demo").code == 0
        daemon.woken_by("machine")
        victim = machine.served("capitals-int4") / "tokenizer_config.json"
        settled(lambda: len(daemon.events("pass.summary")))
        before = len(daemon.events("pass.summary"))
        victim.unlink()
        assert daemon.expect("pass.summary", before + 1)["held"] == 1
        assert not victim.exists()
        assert machine.run("resume", "capitals-int4").code == 0
        assert wait_for(victim.exists), "".join(daemon.raw)


def test_it_is_small_and_alone_when_it_rests(machine: TestMachine) -> None:
    with running(machine, "--interval", "200ms") as daemon:
        daemon.expect("ready")
        until(lambda: unsaid(daemon) >= 5)
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        assert int(status.partition("VmRSS:")[2].split()[0]) < 80 * 1024
        mapped = Path(f"/proc/{daemon.pid}/maps").read_text()
        assert not [name for name in ("torch", "onnx", "transformers", "numpy") if f"/{name}" in mapped]
        assert daemon.children() == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--path", "nowhere"], 64, "there is no folder nowhere"),
        (["--path", "manifests/capitals.yaml"], 64, "--path wants a folder"),
        (["--interval", "often"], 64, "expected a duration"),
        (["--repo", "ext::sh -c true"], 64, "names a program"),
    ],
)
def test_what_is_refused_at_once(machine: TestMachine, arguments: list[str], code: int, said: str) -> None:
    done = machine.run("run", *arguments)
    assert done.code == code, done.err
    assert said in done.err


def test_nothing_falls_between_two_sets_of_watched_folders(machine: TestMachine) -> None:
    """A manifest is changed in the very moment in which, after a pass, other folders begin to be watched."""
    sources = ["../model", "../other"]
    machine.give_model(machine.folder / "fleet" / "model", "other")
    with running(machine, *LONG) as daemon:
        daemon.expect("ready")
        for number in range(2):
            before = len(daemon.events("pass.summary"))
            machine.declare(precisions="int4, int8", source=sources[number % 2])
            daemon.expect("pass.summary", before + 1)
            machine.declare(f"bad-{number}", precisions="int5")
            wanted = f"bad-{number}.yaml"
            assert wait_for(lambda wanted=wanted: wanted in problems(daemon)), "".join(daemon.raw)
            (machine.manifests / wanted).unlink()


def problems(daemon: Daemon) -> str:
    return " ".join(line["file"] for line in daemon.events("declaration.problem"))


def test_the_scrub_of_a_daemon_finds_rot_and_has_it_mended(machine: TestMachine) -> None:
    path = machine.served("capitals-int4") / "model.onnx.data"
    whole = path.read_bytes()
    before = os.stat(path)
    path.chmod(0o644)
    path.write_bytes(whole[:-1] + b"?")
    path.chmod(0o444)
    stamps = machine.root / "records" / "stamps.json"
    stamped = {stamp_of(before): stamp_of(os.stat(path))}
    known = unseal(stamps.read_bytes())
    stamps.write_bytes(seal({stamped.get(stamp, stamp): held for stamp, held in known.items()}))
    # A round begins after half a period. The next one, which finds nothing, is to end long after this test.
    with running(machine, *LONG, "--scrub-period", "8s") as daemon:
        assert "model.onnx.data" in daemon.expect("scrub.found")["path"]
        assert daemon.woken_by("scrub")["converged"]
        assert path.read_bytes() == whole
        daemon.expect("scrub.done")
        assert daemon.end() == 0
    assert verify(opened(machine)) == ()
    assert machine.run("status", "-o", "json").json()["scrub"]["last"]["found"] == 1
    assert "1 damaged" in machine.run("doctor").out
