"""`reconciler rollout` in a clone, with the reports of a fleet in a folder."""

import json
import subprocess
from pathlib import Path

import pytest

from reconciler.cli.main import main
from reconciler.domain.machine_report import ReportSettings
from reconciler.host.clock import now
from reconciler.machine_reports.folder import ReportFolder
from reconciler.machine_reports.place import Sent
from reconciler.machine_reports.select import open_place
from tests.git_server import Repository
from tests.machine_reports.documents import GOOD, know, machine, signed

NAMES = ("edge-1", "edge-2", "edge-3")
MANIFEST = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: capitals}
spec: {source: {path: ../model}, precisions: [int4]}
---
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {name: edge}
spec:
  rings:
    - {name: canary, machines: [edge-1, edge-2]}
    - {name: broad}
"""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    repository = Repository(tmp_path / "clone")
    (repository.folder / "model").mkdir()
    repository.write("model/config.json", "{}")
    repository.write("manifests/fleet.yaml", MANIFEST)
    repository.commit()
    monkeypatch.chdir(repository.folder)
    monkeypatch.setenv("RECONCILER_CONFIG", "")
    for one in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{one}_NAME", "a person")
        monkeypatch.setenv(f"GIT_{one}_EMAIL", "person@example.org")
    return repository


@pytest.fixture
def reports(tmp_path: Path) -> list[str]:
    keys, place = know(tmp_path / "keys", NAMES), ReportFolder(str(tmp_path / "reports"))
    for name in NAMES:
        data, signature = signed(machine(name, generated=now()), tmp_path, "edge-1" if name == "edge-3" else name)
        place.put(Sent(entry=name, data=data, signature=signature))
    return ["--reports", str(tmp_path / "reports"), "--keys", keys]


def committed(clone: Repository) -> str:
    shown = subprocess.run(
        ["git", "show", "--format=%an: %s", "HEAD"], cwd=clone.folder, capture_output=True, text=True, check=True
    )
    return shown.stdout


def test_status_shows_each_ring(clone: Repository, reports: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "status", *reports, "-o", "json"]) == 0
    view = json.loads(capsys.readouterr().out)
    (rollout,) = view["rollouts"]
    (candidate,) = rollout["candidates"]
    assert (candidate["variant"], candidate["release"], candidate["wantedBy"]) == ("capitals-int4", GOOD.wanted, 2)
    assert [(one["name"], one["machines"], one["ready"]) for one in candidate["rings"]] == [
        ("canary", 2, 2),
        ("broad", 1, 0),  # known, and without a report that counts
    ]
    assert view["doubted"][0].startswith("edge-3 (Forged: ")
    assert main(["rollout", "status", *reports]) == 0
    text = capsys.readouterr().out
    assert "ring canary: edge-1, edge-2; at once" in text
    assert main(["rollout", "status", "late"]) == 1
    assert "there is no Rollout late" in capsys.readouterr().err


def test_reports_are_read_from_a_git_server_as_for_the_fleet(
    clone: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "fleet.git")], check=True)
    where, keys = f"file://{tmp_path}/fleet.git#machines", know(tmp_path / "keys", NAMES)
    data, signature = signed(machine("edge-1", generated=now()), tmp_path)
    place = open_place(ReportSettings(to=where, allow_file=True), folder=str(tmp_path))
    place.put(Sent(entry="edge-1", data=data, signature=signature))
    told = ["rollout", "status", "--reports", where, "--keys", keys, "-o", "json"]
    assert main([*told, "--allow-file"]) == 0
    (candidate,) = json.loads(capsys.readouterr().out)["rollouts"][0]["candidates"]
    assert [(one["machines"], one["ready"]) for one in candidate["rings"]] == [(2, 1), (1, 0)]
    assert main([*told, "--allow-file", "--token-file", "missing"]) == 64
    assert "--token-file: there is no file missing" in capsys.readouterr().err
    assert main(told) == 64
    assert "--allow-file" in capsys.readouterr().err


def test_an_action_is_a_commit_of_the_users_own(clone: Repository, reports: list[str]) -> None:
    assert main(["rollout", "pause", "edge", "--reason", "the launch"]) == 0
    assert "a person: rollout edge: pause: the launch" in committed(clone)
    assert "+  paused: true" in committed(clone)
    assert main(["rollout", "resume", "edge"]) == 0
    assert (clone.folder / "manifests" / "fleet.yaml").read_text() == MANIFEST
    release = "sha256:" + "b" * 64
    assert main(["rollout", "abort", "edge", "--release", release, "--reason", "bad answers"]) == 0
    assert f'+    - {{release: "{release}", reason: "bad answers"}}' in committed(clone)
    assert main(["validate", "manifests"]) in (0, 1)


def test_a_dry_run_prints_a_patch_that_git_takes(
    clone: Repository, reports: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The release is the one that the reports name."""
    old = "sha256:" + "d" * 64
    late = machine("edge-2", summary=(GOOD.__class__(**{**vars(GOOD), "serves": old}),))
    data, signature = signed(late, Path(reports[1]).parent, "edge-2")
    ReportFolder(reports[1]).put(Sent(entry="edge-2", data=data, signature=signature))
    assert main(["rollout", "promote", "edge", "--ring", "broad", "--dry-run", *reports]) == 0
    patch = capsys.readouterr().out
    assert f'+    - {{release: "{GOOD.wanted}", ring: broad}}' in patch
    subprocess.run(["git", "apply"], input=patch, text=True, cwd=clone.folder, check=True)
    assert main(["rollout", "pause", "edge"]) == 64  # that file has a change that is not committed
    assert "changes that are not committed" in capsys.readouterr().err


def test_wrong_usage_is_named(clone: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "promote", "edge", "--ring", "brod", "--release", "sha256:" + "a" * 64]) == 64
    assert "there is no ring brod" in capsys.readouterr().err
    assert main(["rollout", "promote", "edge", "--release", "sha256:12"]) == 64
    assert main(["rollout", "pause"]) == 64
    assert main(["rollout", "promote", "edge"]) == 64
