"""Documents that version 0.1.0 wrote at commit 9459a53: each is read, and written again byte for byte."""

import json
import shutil
from pathlib import Path

import pytest

from reconciler.backends.foundry.folder import marker_from_json, marker_to_json
from reconciler.conversion.order import ORDER
from reconciler.domain.layout import Layout
from reconciler.fleet.inventory_form import inventory_view, read_inventory
from reconciler.host.codec import Codec, seal, unseal
from reconciler.state import forms
from reconciler.state.documents import Stored
from reconciler.state.progress import delivery_progress, scrub_progress
from reconciler.state.records import Records

HERE = Path(__file__).parent / "previous"
RECORDS = HERE / "root" / "records"

FORMS: dict[str, Codec] = {
    "variants/capitals-int4": forms.VARIANT,
    "variants/gone-int8": forms.VARIANT,
    "machine": forms.MACHINE,
    "conditions": forms.PASS,
    "history/capitals-int4": forms.HISTORY,
    "suspended/rollbacks": forms.ROLLBACKS,
    "suspended/suspensions": forms.SUSPENSIONS,
    "failures": forms.FAILURES,
    "measurements": forms.MEASUREMENTS,
    "quarantine": forms.QUARANTINE,
}


@pytest.mark.parametrize("name", FORMS)
def test_a_record_is_read_and_written_byte_for_byte(name: str, tmp_path: Path) -> None:
    before = RECORDS / f"{name}.json"
    damaged: list[str] = []
    held = Stored(str(before), FORMS[name], None).read(damaged.append)
    assert held is not None, damaged
    after = tmp_path / "x.json"
    Stored(str(after), FORMS[name], None).write(held)
    assert after.read_bytes() == before.read_bytes()


def test_all_records_together(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "root"))
    shutil.copytree(HERE / "root", layout.root)
    records = Records(layout)
    held = records.load()
    assert (held.damaged, records.damaged_beside()) == ((), ())
    assert held.high_water == {"capitals-int4": 3, "gone-int8": 7}
    assert [one.number for one in held.history["capitals-int4"]] == [1, 2, 0]
    assert held.rollbacks["capitals-int4"].to.number == 1
    assert [one.delay for one in held.failures] == [30.0, 0.0]
    assert held.measured.releases["sha256:3"].rendered == {"sha256:f": (12, -1)}
    assert records.conditions()["capitals-int4"]["Ready"].type == "Ready"
    assert [one.number for one in records.judged()["capitals-int4"].verdicts] == [2.0, None]
    assert delivery_progress(layout, "notify-ops").read() == {"log": "sha256:1", "offset": 7}
    scrubbed = scrub_progress(layout).read()
    assert scrubbed.last.found == 1
    path = Path(layout.at("records", "scrub", "scrub.json"))
    before = path.read_bytes()
    path.unlink()
    scrub_progress(layout).write(scrubbed)
    assert path.read_bytes() == before


def test_older_records_lack_the_newer_fields() -> None:
    """What came later than the first version of each document."""
    machine = {"lastAttemptedRevision": "a", "lastAppliedRevision": "b", "timings": []}
    assert forms.MACHINE.read(machine).accepted == ()
    assert forms.PASS.read({"conditions": {}}).gates == {}
    old = {"release": "sha256:1", "buildKey": "sha256:b", "measured": None}
    assert forms.MEASUREMENTS.read({"measurements": [old]}).releases["sha256:1"].speeds == ()
    (failure,) = unseal((RECORDS / "failures.json").read_bytes())["failures"][:1]
    del failure["delay"]
    assert forms.FAILURES.read({"failures": [failure]})[0].delay == 0.0


def test_release_json() -> None:
    data = (HERE / "release.json").read_bytes()
    assert seal(marker_to_json(marker_from_json(unseal(data)))) == data


def test_an_inventory() -> None:
    data = (HERE / "inventory.json").read_bytes()
    view = inventory_view(read_inventory(data, "inventory.json"))
    assert json.dumps(view, indent=1).encode() + b"\n" == data


def test_an_inventory_of_an_earlier_version() -> None:
    data = (HERE / "inventory-earlier.json").read_bytes()
    found = read_inventory(data, "inventory.json")
    assert (found.measured, found.fidelity, found.runtime) == (None, (), {})
    again = inventory_view(found)
    assert {name: again[name] for name in json.loads(data)} == json.loads(data)


def test_an_order_for_the_converter() -> None:
    """A daemon that runs since before an update starts its worker from the new files."""
    data = json.loads((HERE / "order.json").read_bytes())
    again = ORDER.write(ORDER.read(data))
    assert {name: again[name] for name in data} == data
