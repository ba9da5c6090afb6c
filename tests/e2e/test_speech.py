"""A model that hears, from the example's manifest to what the real Foundry Local writes down; and what a machine says
whose words are others."""

import shutil
from pathlib import Path

import pytest

from tests.extras import needs
from tests.machine import TestMachine

needs("foundry_local_sdk", "foundry")

EXAMPLE = Path(__file__).parents[2] / "examples" / "speech"


@pytest.mark.slow
def test_a_model_that_hears_is_gated_served_and_asked(tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(EXAMPLE / "model")
    machine.manifests.mkdir(exist_ok=True)
    shutil.copytree(EXAMPLE / "recordings", machine.manifests.parent / "recordings")
    path = machine.manifests / "tones.yaml"
    shutil.copy(EXAMPLE / "manifests" / "tones.yaml", path)
    done = machine.run("apply")
    assert done.code == 0, done.err
    assert machine.index()["tones-fp32:1"]["model_info"]["task"] == "automatic-speech-recognition"

    low = str(EXAMPLE / "recordings" / "low.wav")
    done = machine.run("ask", "tones-fp32", "--audio", low, "--language", "sl")
    assert (done.code, done.out) == (0, "To je nizek ton.\n")
    done = machine.run("ask", "tones-fp32", "What is this?")
    assert (done.code, "it takes a recording" in done.err) == (64, True)

    # Other words are judged by what was heard, and what serves goes on.
    path.write_text(path.read_text().replace("contains: low tone", "contains: deep tone"))
    done = machine.run("apply", "-o", "json")
    assert (done.code, done.json()["outcomes"]) == (3, [])
    (held,) = done.json()["held"]
    assert 'low.wav: wanted to contain "deep tone", got "This is a low tone."' in held["message"]
    assert sorted(machine.index()) == ["tones-fp32:1"]
