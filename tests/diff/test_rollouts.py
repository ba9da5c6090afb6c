"""Rings in a pull request: who would get a new release when."""

import json
from pathlib import Path

import pytest

from tests.diff.repository import Fleet
from tests.machine_reports.documents import machine, written

ROLLOUT = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {name: edge}
spec:
  models: [capitals]
  rings:
    - {name: canary, nodeSelector: {matchLabels: {site: lab}}, soak: 24h}
    - {name: broad}
"""


@pytest.fixture
def fleet(tmp_path: Path, capitals: Path) -> Fleet:
    one = Fleet(tmp_path / "fleet")
    one.give_model(capitals)
    one.declare("capitals")
    one.declare("other")
    one.write("manifests/rollout.yaml", ROLLOUT)
    one.commit()
    return one


def test_a_new_release_goes_ring_after_ring(fleet: Fleet, tmp_path: Path) -> None:
    fleet.declare("capitals", template="phi3")
    fleet.declare("other", template="phi3")
    fleet.commit()
    (rollout,) = fleet.view("HEAD~1")["rollouts"]
    assert (rollout["name"], rollout["models"]) == ("edge", ["capitals"])
    assert [(one["ring"], one["who"], one["when"]) for one in rollout["rings"]] == [
        ("canary", "machines with site=lab", "at once"),
        ("broad", "all others", "after ring canary has served it for 24h, 90% of it Ready and none refusing it"),
    ]
    reports = tmp_path / "reports"
    reports.mkdir()
    for name, labels in (("edge-7", {"site": "lab"}), ("edge-8", {"site": "shop"})):
        (reports / f"{name}.json").write_bytes(written(machine(name, labels=labels)))
    text = fleet.diff("HEAD~1", "--against", str(reports)).out
    assert "rollout edge (manifests/rollout.yaml:1) is about capitals" in text
    assert "ring canary: machines with site=lab (edge-7); at once" in text
    assert "ring broad: all others (edge-8); after ring canary" in text
    comment = fleet.diff("HEAD~1", "-o", "markdown").out
    assert "1. ring canary: machines with site=lab; at once" in comment


def test_what_is_aborted_or_paused_is_said(fleet: Fleet) -> None:
    fleet.declare("capitals", template="phi3")
    fleet.write("manifests/rollout.yaml", ROLLOUT + "  paused: true\n")
    fleet.commit()
    (rollout,) = fleet.view("HEAD~1")["rollouts"]
    assert {one["when"] for one in rollout["rings"]} == {"when the Rollout is not paused any more"}


def test_a_rollout_alone_is_a_difference(fleet: Fleet) -> None:
    fleet.write("manifests/rollout.yaml", "# moved\n" + ROLLOUT)
    fleet.commit()
    assert json.loads(fleet.diff("HEAD~1", "-o", "json").out)["differs"] is False
    fleet.write("manifests/rollout.yaml", ROLLOUT.replace("24h", "48h"))
    fleet.commit()
    done = fleet.diff("HEAD~1", "-o", "json")
    assert (done.code, json.loads(done.out)["rollouts"][0]["models"]) == (1, [])
