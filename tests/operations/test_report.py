"""A machine's own report: made, signed, counted and put where its configuration says."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.errors import TemporaryError
from reconciler.domain.machine.registries import RegistrySettings, read_address
from reconciler.domain.machine_report import REJECTED, VERIFIED, RefusedRelease, ReportSettings
from reconciler.fleet.inventory_form import read_inventory
from reconciler.host.clock import now, unix
from reconciler.machine_reports.keys import KeyFolder
from reconciler.machine_reports.select import open_place
from reconciler.machine_reports.verify import read_report
from reconciler.operations import report
from reconciler.operations.report import Reporting
from tests.at_rest import opened
from tests.machine import TestMachine
from tests.machine_reports import documents
from tests.machine_reports.documents import GOOD, key_of, know


@pytest.fixture
def reporting(tmp_path: Path) -> Reporting:
    """Of a machine that serves nothing yet."""
    return _reporting(tmp_path, str(tmp_path / "reports"))


def _reporting(tmp_path: Path, to: str) -> Reporting:
    machine = opened(TestMachine(folder=tmp_path / "machine"))
    settings = ReportSettings(to=to)
    machine = replace(machine, traits=replace(machine.traits, name="edge-7", reports=settings))
    return Reporting(machine, settings, key_of("edge-7", tmp_path))


def _sent(tmp_path: Path) -> bytes:
    return (tmp_path / "reports" / "edge-7.json").read_bytes()


def _counter(tmp_path: Path) -> int:
    return read_inventory(_sent(tmp_path), "x").counter


def test_a_report_goes_once_and_again_only_when_it_says_something_new(reporting: Reporting, tmp_path: Path) -> None:
    assert reporting.last_sent() == 0.0
    assert reporting.send(unchanged=False) == len(_sent(tmp_path))
    first = _counter(tmp_path)
    assert first >= (unix(now()) or 0.0) - 60
    assert reporting.last_sent() > 0.0
    assert reporting.send(unchanged=False) == 0
    assert reporting.send(unchanged=True) > 0
    assert _counter(tmp_path) > first


def test_it_is_signed_by_the_machine(reporting: Reporting, tmp_path: Path) -> None:
    reporting.send(unchanged=False)
    signature = (tmp_path / "reports" / "edge-7.json.sigstore.json").read_bytes()
    keys = KeyFolder(know(tmp_path / "keys", ("edge-7",)))
    judged = read_report("edge-7", _sent(tmp_path), signature, keys, now=now(), longest=60).judged
    assert judged.standing == VERIFIED


def test_a_machine_that_lost_its_records_goes_on_counting(reporting: Reporting, tmp_path: Path) -> None:
    reporting.send(unchanged=False)
    first = _counter(tmp_path)
    (tmp_path / "machine" / "root" / "records" / "told" / "report.json").unlink()
    _reporting(tmp_path, str(tmp_path / "reports")).send(unchanged=False)
    assert _counter(tmp_path) >= first


def test_what_could_not_be_sent_is_sent_later_with_another_counter(tmp_path: Path) -> None:
    away = _reporting(tmp_path, str(tmp_path / "share" / "reports"))
    with pytest.raises(TemporaryError, match="there is no folder above it"):
        away.send(unchanged=False)
    assert away.last_sent() == 0.0
    (tmp_path / "share").mkdir()
    assert away.send(unchanged=False) > 0


def test_who_refuses_what_git_wants_leaves_a_mark_until_it_does_not(
    reporting: Reporting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its report; also where it was left by a process that died."""
    why = RefusedRelease(release="sha256:" + "d" * 64, outcome=REJECTED, message="too slow")
    refusing = replace(GOOD, wanted=why.release, ready="False", refused=(why,))
    states = iter([(refusing,), (replace(refusing, serves=why.release),), (GOOD,)])
    monkeypatch.setattr(report, "take_inventory", lambda machine: documents.machine(summary=next(states)))
    reporting.send(unchanged=True)
    mark = tmp_path / "reports" / "refused-dddddddddddd-edge-7.txt"
    assert mark.exists()
    reporting.send(unchanged=True)
    assert not mark.exists()
    mark.write_text("somebody else's")
    reporting.send(unchanged=True)
    assert mark.exists()


def test_why_no_report_arrives_is_kept_until_one_does(tmp_path: Path) -> None:
    away = _reporting(tmp_path, str(tmp_path / "share" / "reports"))
    away.failed("it does not answer")
    since = away.delivery().failing_since
    away.failed("the password is wrong")
    held = away.delivery()
    assert (held.why, held.failing_since, held.when) == ("the password is wrong", since, "")
    (tmp_path / "share").mkdir()
    away.send(unchanged=False)
    assert away.delivery().why == ""


def test_a_new_place_gets_a_report_at_once(reporting: Reporting, tmp_path: Path) -> None:
    reporting.send(unchanged=False)
    elsewhere = _reporting(tmp_path, str(tmp_path / "elsewhere"))
    assert elsewhere.last_sent() == 0.0
    assert elsewhere.send(unchanged=False) > 0


def test_the_account_of_a_registry_on_the_same_host_is_used(tmp_path: Path) -> None:
    """And of no other host."""
    (tmp_path / "login").write_text("user:password")
    known = [
        RegistrySettings(address=address, credentials_file=str(tmp_path / "login"))
        for host in ("ghcr.io", "other.example")
        if (address := read_address(f"https://{host}/acme/models"))
    ]
    for host, account in (("ghcr.io", True), ("third.example", False)):
        place = open_place(ReportSettings(to=f"oci://{host}/acme/fleet"), known)
        assert bool(place._settings.credentials_file) == account  # type: ignore[attr-defined]
        place.close()


def test_inventory_sends_one_by_hand(tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path / "machine")
    (machine.folder / "fleet").mkdir(parents=True)
    config = tmp_path / "config.yaml"
    head = "apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\nname: edge-7\n"
    config.write_text(f"{head}reports: {{to: {tmp_path}/reports}}\n")
    done = machine.run("inventory", "--push", RECONCILER_CONFIG=str(config))
    assert (done.code, str(tmp_path / "reports") in done.err) == (0, True)
    assert _counter(tmp_path) > 0
    config.write_text(head)
    refused = machine.run("inventory", "--push", RECONCILER_CONFIG=str(config))
    assert (refused.code, "no place for reports" in refused.err) == (64, True)
