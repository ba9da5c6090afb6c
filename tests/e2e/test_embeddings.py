"""A model for embeddings, from the example's manifest to a vector of the real Foundry Local; and what a machine says
whose bars it misses."""

import shutil
from pathlib import Path

import pytest

from reconciler.backends.foundry.backend import FoundryLocal
from reconciler.gates.embeddings import cosine
from reconciler.host.stamps import StampBook
from tests.extras import needs
from tests.machine import TestMachine

needs("foundry_local_sdk", "foundry")

EXAMPLE = Path(__file__).parents[2] / "examples" / "embeddings"


@pytest.mark.slow
def test_a_model_that_embeds_is_gated_served_and_asked(tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(EXAMPLE / "model")
    machine.manifests.mkdir(exist_ok=True)
    path = machine.manifests / "places.yaml"
    shutil.copy(EXAMPLE / "manifests" / "places.yaml", path)
    done = machine.run("apply")
    assert done.code == 0, done.err
    info = machine.index()["places-fp32:1"]["model_info"]
    assert info["task"] == "embeddings"
    served = machine.served("places-fp32")
    assert not (served / "chat_template.jinja").exists()

    def embedding(text: str) -> list[float]:
        found = machine.run("ask", "places-fp32", text, "-o", "json").json()
        assert found["dimensions"] == len(found["embedding"]) == 64
        return list(found["embedding"])

    asked = embedding("What is the capital of Slovenia?")
    assert cosine(asked, embedding("Ljubljana")) > 0.7 > cosine(asked, embedding("Paris"))
    done = machine.run("ask", "places-fp32", "Slovenia", "--system", "Be brief.")
    assert (done.code, "has no conversation" in done.err) == (64, True)

    # What the Finder writes is no damage. Damage is mended under the same number, and leaves that where it is.
    (served / ".DS_Store").write_bytes(b"a view")
    assert machine.plan() == []
    (served / "genai_config.json").unlink()
    assert machine.run("apply").code == 0
    assert machine.plan() == []
    assert (served / ".DS_Store").read_bytes() == b"a view"
    assert machine.run("verify").code == 0

    marker = FoundryLocal(str(machine.cache)).inspect(str(served), StampBook.empty()).marker
    assert marker is not None
    release = FoundryLocal(str(machine.cache)).release_in(str(served), marker)  # as a roll-back finds it
    assert release is not None
    assert (release.task, release.template) == ("embeddings", "")

    # Other bars are judged by the cosines that are known, and what serves goes on.
    path.write_text(path.read_text().replace("atLeast: 0.8", "atLeast: 0.999").replace("64", "384"))
    done = machine.run("apply", "-o", "json")
    assert done.code == 3
    assert done.json()["outcomes"] == []
    (held,) = done.json()["held"]
    assert "an embedding has 64 dimensions, 384 wanted" in held["message"]
    assert 'Slovenia" and "Ljubljana, Slovenia": wanted a cosine of at least 0.999' in held["message"]

    # A model for chat in its place is another release, and says what it would be compared with.
    path.write_text(path.read_text().replace("task: embeddings", "task: chat-completion"))
    done = machine.run("validate", "-o", "json")
    assert [one["code"] for one in done.json()["problems"]] == ["OptionIgnored", "TemplateMissing"]
    assert sorted(machine.index()) == ["places-fp32:1"]
