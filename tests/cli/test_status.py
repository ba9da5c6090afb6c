"""What `status` says of the machine itself, beside its variants."""

from reconciler.reports.status import status_text
from tests.machine import TestMachine


def test_an_invalid_manifest_is_told_until_it_is_mended(machine: TestMachine) -> None:
    bad = machine.manifests / "bad.yaml"
    bad.write_text("apiVersion: reconciler.foundry/v1alpha1\nkind: Model\nmetadata: {name: bad}\nspec: {}\n")
    assert machine.run("apply").code == 3
    said = machine.run("status").out
    assert "manifests are invalid since" in said
    assert "bad.yaml:4" in said
    bad.unlink()
    assert machine.run("apply").code == 0
    assert "invalid" not in machine.run("status").out


def test_a_template_of_another_family_is_told_of_what_is_converted_already(machine: TestMachine) -> None:
    machine.declare("capitals", template="llama3")
    warned = machine.run("plan", "-o", "json").json()["warnings"]
    assert [one["code"] for one in warned] == ["TemplateForeign"]


def test_what_serves_and_is_stalled_says_why() -> None:
    conditions = [
        {"type": "Ready", "status": "True", "reason": "Served", "message": ""},
        {"type": "Stalled", "status": "True", "reason": "GateFailed", "message": "prompts: 1 of 2"},
    ]
    variant = {
        "variant": "capitals-int4",
        "id": "capitals-int4:1",
        "precision": "int4",
        "sizeBytes": 1,
        "template": "preset chatml",
        "since": None,
        "suspension": None,
        "conditions": conditions,
    }
    view = {"variants": [variant], "conditions": [], "lastAppliedRevision": "a", "lastAttemptedRevision": "a"}
    assert "capitals-int4: GateFailed: prompts: 1 of 2\n" in status_text(view)
