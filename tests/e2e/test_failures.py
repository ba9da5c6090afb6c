"""What a failure leaves behind: the old release serving, one clear line, and a next pass that can go on."""

import json
from pathlib import Path

import pytest

from tests.machine import TestMachine, tree

pytestmark = pytest.mark.slow

QUESTION = "What is the capital of Slovenia?"


@pytest.fixture
def serving(tmp_path: Path, capitals: Path) -> TestMachine:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    assert machine.run("apply").code == 0
    return machine


def test_a_template_that_the_runtime_cannot_render_is_never_served(serving: TestMachine) -> None:
    before = tree(serving.root / "served")
    template = serving.folder / "fleet" / "manifests" / "broken.jinja"
    template.write_text("{{ messages[0]['content'] | no_such_filter }}")
    serving.declare(template="{jinja: broken.jinja}")
    done = serving.run("apply")
    if done.code == 1:  # refused before anything was tried is as good
        assert "broken.jinja" in done.err
    else:
        assert done.code == 3, done.err
    assert tree(serving.root / "served") == before
    assert set(serving.index()) == {"capitals-int4:1"}
    assert "Ljubljana" in serving.run("ask", "capitals-int4", QUESTION).out


def test_a_source_that_breaks_keeps_the_old_release(serving: TestMachine) -> None:
    config = serving.folder / "fleet" / "model" / "config.json"
    config.chmod(0o644)
    config.write_text("{")
    done = serving.run("apply")
    assert done.code == 3
    assert "config.json" in done.err
    ready = serving.run("status", "-o", "json").json()["variants"][0]["conditions"][0]
    assert (ready["type"], ready["status"]) == ("Ready", "False")
    assert "capitals-int4:1 still serves" in ready["message"]
    assert "Ljubljana" in serving.run("ask", "capitals-int4", QUESTION).out


def test_weights_with_nan_are_refused_and_the_old_release_serves(serving: TestMachine) -> None:
    weights = serving.folder / "fleet" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    header = int.from_bytes(data[:8], "little")
    tensors = json.loads(data[8 : 8 + header])
    first = next(one for name, one in tensors.items() if name != "__metadata__" and one["dtype"] == "F32")
    begin = 8 + header + first["data_offsets"][0]
    data[begin : begin + 4] = b"\x00\x00\xc0\x7f"
    weights.chmod(0o644)
    weights.write_bytes(data)
    done = serving.run("apply")
    assert done.code == 3
    assert "Traceback" not in done.err
    status = serving.run("status", "-o", "json").json()["variants"][0]
    assert status["id"] == "capitals-int4:1"
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "False"
    assert "Ljubljana" in serving.run("ask", "capitals-int4", QUESTION).out
    assert not [p for p in (serving.root / "staging").rglob("*") if p.is_file()]
