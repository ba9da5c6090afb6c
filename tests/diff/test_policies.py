"""Policies in a pull request: the rule and the model are named, and only what is new is a difference."""

from pathlib import Path

import pytest

from tests.diff.repository import Fleet

POLICY = "apiVersion: reconciler.foundry/v1alpha1\nkind: Policy\nmetadata: {name: house}\nspec:\n"


@pytest.fixture
def fleet(tmp_path: Path, capitals: Path) -> Fleet:
    one = Fleet(tmp_path / "fleet")
    model = one.give_model(capitals)
    (model / "README.md").write_text("---\nlicense: llama3.2\n---\n")
    one.declare("capitals")
    one.commit()
    return one


def test_a_policy_that_what_serves_breaks(fleet: Fleet) -> None:
    """It goes on, and the comment says which rule of which policy it breaks."""
    fleet.write("manifests/policy.yaml", POLICY + "  licenses: {allow: [MIT]}\n")
    fleet.commit()
    view = fleet.view("HEAD~1")
    [model] = view["models"]
    assert model["changes"] == []
    [held] = model["held"]
    assert (held["reason"], held["variant"]) == ("PolicyDenied", "capitals-int4")
    assert held["message"].startswith("capitals-int4:1 is served, and goes on: policy house, rule licenses")
    [result] = view["policies"]
    assert (result["policy"], result["rule"], result["model"], result["new"]) == ("house", "licenses", "capitals", True)
    done = fleet.diff("HEAD~1", "-o", "markdown")
    assert done.code == 2
    row = "| capitals | house \\(manifests/policy.yaml:5\\) | licenses | fail | expected MIT, got LicenseRef-llama3.2 |"
    assert row in done.out
    assert (
        "::error file=manifests/capitals.yaml,line=6,title=PolicyDenied::" in fleet.diff("HEAD~1", "-o", "github").out
    )


def test_what_was_denied_before_is_no_difference(fleet: Fleet) -> None:
    fleet.write("manifests/policy.yaml", POLICY + "  licenses: {allow: [MIT]}\n")
    fleet.commit()
    fleet.write("manifests/policy.yaml", "\n" + POLICY + "  licenses: {allow: [MIT]}\n")
    fleet.commit()
    view = fleet.view("HEAD~1")
    assert view["models"] == []
    assert [one["new"] for one in (*view["policies"], *view["problems"])] == [False, False]


def test_a_policy_that_is_taken_back_lets_the_model_be_made(fleet: Fleet) -> None:
    fleet.write("manifests/policy.yaml", POLICY + "  licenses: {allow: [MIT]}\n")
    fleet.commit()
    fleet.write("manifests/policy.yaml", POLICY + "  licenses: {allow: [LicenseRef-llama3.2]}\n")
    fleet.commit()
    view = fleet.view("HEAD~1")
    assert [change["action"] for change in view["models"][0]["changes"]] == ["convert", "verify", "register"]
    assert (view["policies"], view["problems"]) == ([], [])
