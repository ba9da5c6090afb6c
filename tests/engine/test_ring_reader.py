"""Reports for rings as they lie in a place: signed, forged, replayed under another name, or of nobody we know."""

from pathlib import Path

import pytest

from reconciler.domain.errors import TemporaryError
from reconciler.domain.machine_report import ReportSettings
from reconciler.engine.rollouts.ring_reader import RingReader
from reconciler.machine_reports.folder import ReportFolder
from reconciler.machine_reports.keys import entry_name
from reconciler.machine_reports.place import Sent
from tests.machine_reports.documents import know, machine, signed

NAMES = ("edge-1", "edge-2", "edge-3", "EDGE-4")


@pytest.fixture
def reader(tmp_path: Path) -> RingReader:
    know(tmp_path / "keys", {entry_name(name): name for name in NAMES})
    place = ReportFolder(str(tmp_path / "reports"))
    for name in NAMES:
        data, signature = signed(machine(name), tmp_path, name)
        place.put(Sent(entry=entry_name(name), data=data, signature=signature))
    forged, by_another = signed(machine("edge-2"), tmp_path, "edge-3")
    place.put(Sent(entry="edge-2", data=forged, signature=by_another))
    borrowed, genuine = signed(machine("edge-1"), tmp_path, "edge-1")
    place.put(Sent(entry="edge-3", data=borrowed, signature=genuine))
    stranger, own = signed(machine("stranger"), tmp_path, "stranger")
    place.put(Sent(entry="stranger", data=stranger, signature=own))
    return RingReader(ReportSettings(to=str(tmp_path / "reports"), keys=str(tmp_path / "keys")), ())


def test_a_machine_is_known_by_its_key(reader: RingReader) -> None:
    assert sorted(reader.names()) == sorted(map(entry_name, NAMES))


def test_each_report_is_worth_what_its_signature_is(reader: RingReader) -> None:
    asked = [*map(entry_name, NAMES), "stranger", "not-there"]
    found = {one.entry: one for one in reader.read(asked)}
    assert {name: one.standing for name, one in found.items()} == {
        "edge-1": "Verified",
        "edge-2": "Forged",
        "edge-3": "Forged",
        entry_name("EDGE-4"): "Verified",
        "stranger": "UnknownKey",
    }
    assert found["edge-3"].why == "it is the report of edge-1"
    report = found[entry_name("EDGE-4")].report
    assert report is not None
    assert report.machine == entry_name("EDGE-4")
    assert report.labels["site"] == "lab"


def test_keys_that_are_not_there_are_an_error_that_may_pass() -> None:
    with pytest.raises(TemporaryError, match="No such file"):
        RingReader(ReportSettings(to="/nowhere", keys="/nowhere/keys"), ()).names()
