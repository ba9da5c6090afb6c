"""Documents that version 0.1.0 wrote at commit 9459a53: each is read, and written again byte for byte."""

import json
import shutil
from pathlib import Path

import pytest

from reconciler.backends.foundry.folder import marker_from_json, marker_to_json
from reconciler.conversion.order import ORDER
from reconciler.domain import measured
from reconciler.domain.layout import Layout
from reconciler.domain.plain_data import as_dict, field_names
from reconciler.fleet.inventory_form import inventory_view, read_inventory
from reconciler.host.codec import Codec, seal, unseal
from reconciler.registry.provenance import numbers_in
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


NUMBERS = {
    measured.Fidelity: "build_key prompts positions top1_agreement mean_kl perplexity_ratio wiring_kl rounding_distance"
    " when unmeasured",
    measured.Measured: "release build_key load answers rendered speeds speed_memory_bytes endured tokenized decoded"
    " referenced times refused asked right released longest",
    measured.Measurements: "load_seconds first_token_seconds tokens_per_second prompt_tokens completion_tokens"
    " peak_memory_bytes takes_system runtime",
    measured.Speed: "wanted_tokens prompt_tokens first_token_seconds tokens_per_second",
    measured.Endured: "requests growth_bytes drift crashed",
    measured.Tokenized: "texts tried differing decomposed shortest source served",
    measured.Decoded: "method positions longest median_kl unmeasured asked",
    measured.Referenced: "method positions median_kl source_kl built_kl agreed built_agreed unmeasured",
    measured.Released: "before loaded after",
    measured.LongestPrompt: "tokens claimed limit",
}


@pytest.mark.parametrize("kind", NUMBERS, ids=lambda kind: kind.__name__)
def test_numbers_are_written_in_fields_that_earlier_versions_read(kind: type) -> None:
    """Commit 3cb7459 knows these. One number with another field makes it refuse all that stand beside it: in records,
    inventories, and beside artifacts in a registry. What has to be known of an artifact belongs into its recipe."""
    assert field_names(kind) == tuple(NUMBERS[kind].split())


def test_a_field_that_versions_of_one_day_wrote_is_dropped() -> None:
    record = unseal((RECORDS / "measurements.json").read_bytes())
    inventory = json.loads((HERE / "inventory.json").read_bytes())
    expected, told = forms.MEASUREMENTS.read(record), read_inventory(json.dumps(inventory).encode(), "x.json")
    (number,) = expected.fidelity.values()
    record["fidelity"][0]["made_for"] = inventory["fidelity"][0]["madeFor"] = "CUDAExecutionProvider"
    assert forms.MEASUREMENTS.read(record) == expected
    assert read_inventory(json.dumps(inventory).encode(), "x.json") == told
    beside = json.dumps(as_dict(number) | {"made_for": "CUDAExecutionProvider"}).encode()
    assert numbers_in(beside, number.build_key) == number


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
