"""What `status` says of the machine itself, beside its variants."""

from dataclasses import replace

from reconciler.domain.machine_report import ReportSettings
from reconciler.operations.report import Reporting
from reconciler.reports.status import status_text
from tests.at_rest import opened
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


def test_whether_its_reports_arrive_is_told_by_status_and_doctor(machine: TestMachine) -> None:
    config = machine.folder / "config.yaml"
    place = machine.folder / "share" / "reports"
    config.write_text(
        f"apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\nname: edge-7\nreports: {{to: {place}}}\n"
    )
    opened_machine = opened(machine)
    settings = ReportSettings(to=str(place))
    traits = replace(opened_machine.traits, name="edge-7", reports=settings)
    reporting = Reporting(replace(opened_machine, traits=traits), settings, None)

    def told() -> tuple[str, str]:
        status = machine.run("status", RECONCILER_CONFIG=str(config)).out.splitlines()[-1]
        doctor = machine.run("doctor", RECONCILER_CONFIG=str(config)).out.splitlines()
        return status, next(line for line in doctor if " report " in line)

    status, doctor = told()
    assert status == f"report: to {place}: none has arrived yet"
    assert doctor.startswith("ok")
    reporting.failed("ReportsUnreachable: there is no folder above it")
    status, doctor = told()
    assert "report: no report arrives at" in status
    assert "there is no folder above it; none has arrived yet" in status
    assert doctor.startswith("warning")
    place.parent.mkdir()
    reporting.send(unchanged=False)
    status, doctor = told()
    assert ": the last arrived at 20" in status
    assert doctor.startswith("ok")
    assert "report" not in machine.run("status").out.splitlines()[-1]


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
