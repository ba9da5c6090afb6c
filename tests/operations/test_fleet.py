"""Reports of a fleet from a real folder: what counts, what is only listed, and what is never displaced."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from reconciler.domain.errors import PermanentError
from reconciler.domain.machine_report import FORGED, REPLAYED, UNKNOWN_KEY, UNREADABLE, UNSIGNED, VERIFIED
from reconciler.fleet.inventory import Inventory
from reconciler.machine_reports.folder import ReportFolder
from reconciler.machine_reports.keys import KeyFolder
from reconciler.operations.fleet import ReadFleet, SeenReports, read_clone, read_fleet
from tests.git_server import Repository
from tests.machine import TestMachine
from tests.machine_reports.documents import NOW, know, machine, signed, written


class Fleet:
    """A folder of reports, and one of keys."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reports = folder, folder / "reports"
        self.reports.mkdir()

    def put(self, inventory: Inventory, entry: str = "", by: str = "") -> None:
        data, signature = signed(inventory, self.folder, by)
        path = self.reports / f"{entry or inventory.machine}.json"
        path.write_bytes(data)
        path.with_name(f"{path.name}.sigstore.json").write_bytes(signature)

    def read(self, *known: str, accept_new: bool = False, seen: str = "") -> ReadFleet:
        keys = KeyFolder(know(self.folder / "keys", known))
        remembered = SeenReports(seen)
        found = read_fleet(
            ReportFolder(str(self.reports)), keys, seen=remembered.orders, now=NOW, accept_new=accept_new
        )
        remembered.save(found.machines)
        return found


ROLLOUT = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: capitals}
spec: {source: {path: ../model}, precisions: [int4]}
---
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {name: edge}
spec:
  rings: [{name: canary, machines: [edge-7]}, {name: broad}]
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def _standings(found: ReadFleet) -> dict[str, str]:
    return {one.report.machine: one.judged.standing for one in found.machines}


def test_each_report_is_worth_what_it_is_and_harms_no_other(fleet: Fleet) -> None:
    fleet.put(machine("good"))
    fleet.put(machine("stranger"))
    fleet.put(machine("forged"), by="good")
    (fleet.reports / "bare.json").write_bytes(written(machine("bare")))
    (fleet.reports / "broken.json").write_bytes(b"{")
    found = fleet.read("good", "forged", "bare")
    assert _standings(found) == {"good": VERIFIED, "stranger": UNKNOWN_KEY, "forged": FORGED, "bare": UNSIGNED}
    assert sorted((one.entry, one.standing) for one in found.problems) == [("broken", UNREADABLE), ("forged", FORGED)]


@pytest.mark.parametrize("entry", ["aaa", "zzz"])
def test_a_forged_report_never_takes_the_place_of_a_genuine_one(fleet: Fleet, entry: str) -> None:
    fleet.put(machine("edge-7"))
    fleet.put(machine("edge-7", counter=1 << 50, labels={"site": "elsewhere"}), entry, by="edge-8")
    found = fleet.read("edge-7", "edge-8")
    assert [(one.judged.standing, one.report.labels["site"]) for one in found.machines] == [(VERIFIED, "lab")]
    assert [(one.entry, one.standing) for one in found.problems] == [(entry, FORGED)]


def test_of_two_genuine_ones_the_newer_counts_and_a_receipt_is_one(fleet: Fleet) -> None:
    fleet.put(machine("edge-7", counter=5, labels={"site": "old"}), "edge-7.tar.receipt")
    fleet.put(machine("edge-7", labels={"site": "new"}))
    found = fleet.read("edge-7")
    assert ([one.report.labels["site"] for one in found.machines], found.problems) == (["new"], ())


def test_an_old_report_that_is_put_back_is_noticed(fleet: Fleet) -> None:
    seen = str(fleet.folder / "seen.json")
    fleet.put(machine("edge-7", counter=8))
    assert _standings(fleet.read("edge-7", seen=seen)) == {"edge-7": VERIFIED}
    fleet.put(machine("edge-7", counter=7))
    found = fleet.read("edge-7", seen=seen)
    assert (_standings(found), [one.standing for one in found.problems]) == ({"edge-7": REPLAYED}, [REPLAYED])
    fleet.put(machine("edge-7", counter=9))
    assert _standings(fleet.read("edge-7", seen=seen)) == {"edge-7": VERIFIED}
    assert json.loads(Path(seen).read_text()) == {"edge-7": 9}


def test_what_was_seen_is_not_forgotten_because_its_file_is_broken(fleet: Fleet) -> None:
    path = fleet.folder / "seen.json"
    path.write_text('{"edge-7": "x"}')
    with pytest.raises(PermanentError, match=r"seen\.json: "):
        SeenReports(str(path))


def test_a_key_is_trusted_on_first_use_and_then_it_is_the_only_one(fleet: Fleet) -> None:
    fleet.put(machine("edge-7"))
    first = fleet.read(accept_new=True)
    assert (_standings(first), first.accepted) == ({"edge-7": VERIFIED}, ("edge-7",))
    fleet.put(machine("edge-7", counter=1 << 50), by="edge-8")
    again = fleet.read(accept_new=True)
    assert (_standings(again), again.accepted) == ({"edge-7": FORGED}, ())


def test_a_clone_says_how_far_machines_are_behind_and_where_manifests_are(tmp_path: Path) -> None:
    one = Repository(tmp_path / "fleet")
    one.model("capitals")
    first = one.commit("first")
    one.git("remote", "add", "origin", "https://github.com/acme/fleet.git")
    second = one.commit("second")
    branch = read_clone(str(tmp_path / "fleet" / "manifests"), "", "manifests")
    assert branch.name == "main"  # as it is checked out: links lead there
    assert (branch.commits, branch.url) == ((second, first), "https://github.com/acme/fleet.git")
    assert branch.manifests == {"capitals": "manifests/capitals.yaml"}


def test_the_verb_shows_the_rings_of_a_clone(fleet: Fleet, cli: TestMachine, tmp_path: Path) -> None:
    one = Repository(tmp_path / "clone")
    one.write("manifests/two.yaml", ROLLOUT)  # a file of another name than its model
    one.write("model/config.json", "{}")
    one.commit()
    fleet.put(machine("edge-7"))
    told = cli.run("fleet", str(fleet.reports), "--repo", str(one.folder), "-o", "json").json()
    assert [(each["name"], each["ring"]) for each in told["machines"]] == [("edge-7", "canary")]
    assert [each["name"] for each in told["rollouts"][0]["rings"]] == ["canary", "broad"]
    served = ("--repo", f"file://{one.folder}", "--branch", "main", "--allow-file")
    by_url = cli.run("fleet", str(fleet.reports), *served, "-o", "json").json()
    assert by_url["machines"][0]["ring"] == "canary"
    assert by_url["rollouts"] == told["rollouts"]
    config = tmp_path / "config.yaml"
    repository = f"{{url: 'file://{one.folder}', branch: main, allowFile: true}}"
    head = "apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\n"
    config.write_text(f"{head}reports: {{to: {fleet.reports}}}\nrepository: {repository}\n")
    by_configuration = cli.run("fleet", "-o", "json", RECONCILER_CONFIG=str(config)).json()
    assert by_configuration["rollouts"] == told["rollouts"]
    config.write_text(config.read_text().replace(", allowFile: true", ""))
    refused = cli.run("fleet", RECONCILER_CONFIG=str(config))
    assert (refused.code, "`repository.allowFile: true`" in refused.err) == (64, True)


@pytest.fixture
def cli(tmp_path: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path / "machine")
    (one.folder / "fleet").mkdir(parents=True)
    return one


def test_the_verb_shows_the_fleet_in_three_forms(fleet: Fleet, cli: TestMachine) -> None:
    fleet.put(machine("edge-7", labels={"site": "lab"}))
    fleet.put(machine("edge-8", generated="2026-11-01T00:00:00Z"))
    keys, bare = know(fleet.folder / "keys", ("edge-7", "edge-8")), str(fleet.folder / "fleet.git")
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", bare], check=True)
    common = ("fleet", str(fleet.reports), "--keys", keys, "--group-by", "site")
    know(fleet.folder / "keys", ("edge-70",))  # it has never reported
    told = cli.run(*common, "-o", "json").json()
    missing = next(one for one in told["machines"] if one["name"] == "edge-70")
    assert (missing["state"]["reason"], missing["silent"]) == ("NeverReported", True)
    told["machines"].remove(missing)
    assert {one["name"]: one["standing"] for one in told["machines"]} == {"edge-7": VERIFIED, "edge-8": VERIFIED}
    page = cli.run(*common, "-o", "html")
    assert page.out.startswith("<!doctype html>")
    text = cli.run(*common, "--exit-code")
    assert (text.code, "edge-8" in text.out) == (3, True)
    assert not os.path.exists(cli.root)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected REPORTS"),
        (("missing",), "missing: No such file"),
        (("ftp://x/y",), "expected a folder, oci://HOST/REPOSITORY"),
        (("https://user:secret@host/x.git",), "the URL holds a password"),
        ((".", "--accept-new"), "--accept-new wants a folder"),
        ((".", "--keys", "missing"), "there is no folder"),
        ((".", "--seen", "."), "not a regular file"),
    ],
)
def test_wrong_usage_is_one_clear_line(cli: TestMachine, arguments: tuple[str, ...], said: str) -> None:
    done = cli.run("fleet", *arguments)
    assert done.code in (1, 64)
    assert said in done.err
    assert "secret" not in done.err
    assert "Traceback" not in done.err
