"""A model from the hub, from its manifest to an answer: through a hub on loopback, the real Olive and Foundry Local."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import canaries
from tests.cli.test_lock import declare
from tests.extras import needs
from tests.hub_server import HubServer
from tests.machine import TestMachine

needs("huggingface_hub", "hub")
needs("olive", "convert")

CANARY = canaries.secret("hub-e2e")


@pytest.fixture
def server(capitals: Path) -> Iterator[HubServer]:
    with HubServer().running() as running:
        running.give("org/tiny", capitals, gated=True, token=CANARY)
        yield running


@pytest.mark.slow
def test_a_model_of_the_hub_is_fetched_converted_and_served(tmp_path: Path, server: HubServer) -> None:
    machine = TestMachine(folder=tmp_path)
    declare(machine, precisions="int4, int8")
    token = tmp_path / "token"
    canaries.file(token, "hub-e2e", end="")
    hub = {"HF_ENDPOINT": server.url, "RECONCILER_HF_TOKEN_FILE": str(token)}
    assert machine.run("lock", **hub).code == 0
    done = machine.run("apply", "-o", "json", **hub)
    assert done.code == 0, done.err
    actions = [f"{one['action']} {one['status']}" for one in done.json()["outcomes"]]
    assert actions.count("fetch done") == 1
    assert actions.count("convert done") == 2
    assert sorted(machine.index()) == ["capitals-int4:1", "capitals-int8:1"]
    answer = machine.run("ask", "capitals-int8", "What is the capital of France?")
    assert "Paris" in answer.out, answer.err
    assert machine.plan() == []

    # Without its folder and without the hub nothing changes: what is served needs no source.
    (folder,) = (one for one in (machine.root / "sources" / "hub").iterdir() if len(one.name) == 64)
    shutil.rmtree(folder)
    assert machine.plan() == []
    assert machine.run("verify").code == 0
    # A lost artifact needs it again, and comes out the same.
    shutil.rmtree(machine.root / "oci")
    shutil.rmtree(machine.served("capitals-int4"))
    assert machine.plan() == ["fetch SourceMissing capitals-int4"]
    done = machine.run("apply", **hub)
    assert done.code == 0, done.err
    assert sorted(machine.index()) == ["capitals-int4:1", "capitals-int8:1"]

    for path in (*machine.root.rglob("*"), *machine.cache.rglob("*")):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path

    # What nothing declares any more goes, the source too.
    declare(machine).unlink()
    machine.run("lock", **hub)
    assert machine.run("apply", "--confirm", **hub).code == 0
    assert not any(len(one.name) == 64 for one in (machine.root / "sources" / "hub").iterdir())
