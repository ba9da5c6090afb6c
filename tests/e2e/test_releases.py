"""From one release to the next, and back, while another application goes on asking; and a runtime that is another."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException
from importlib import metadata
from pathlib import Path

import pytest

from reconciler.templates.presets import preset
from tests.at_rest import opened
from tests.e2e.asking import asking as asking_for_the_newest
from tests.e2e.foundry_web import chat, web_service
from tests.machine import TestMachine
from tests.waiting import until

pytestmark = pytest.mark.slow

V = "capitals-int4"
QUESTION = "What is the capital of Slovenia?"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path_factory.mktemp("releases"))
    one.give_model(capitals)
    one.declare()
    done = one.run("apply")
    assert done.code == 0, done.err
    return one


@contextmanager
def asking(url: str, identity: str) -> Iterator[list[str]]:
    """Every answer of a client that asks one question after the other, or what went wrong."""
    answers: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                said = chat(url, identity, [{"role": "user", "content": QUESTION}], max_tokens=16, temperature=0)
                answers.append(said["choices"][0]["message"]["content"])
            except (OSError, HTTPException) as error:
                answers.append(f"{type(error).__name__}: {error}")

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield answers
    finally:
        over.set()
        client.join()


def template(machine: TestMachine, comment: str) -> None:
    """The same prompts under another digest."""
    text = preset("chatml").jinja
    assert text is not None
    (machine.manifests / "chat.jinja").write_text("{# " + comment + " #}" + text)
    machine.declare(template="{jinja: chat.jinja}")


def test_a_client_sees_no_failed_request_and_no_wrong_answer(machine: TestMachine, tmp_path: Path) -> None:
    with web_service(machine.cache, tmp_path / "web", f"{V}:1") as url:
        with asking(url, f"{V}:1") as answers:
            template(machine, "two")
            done = machine.run("apply")
            assert done.code == 0, done.err
            assert set(machine.index()) == {f"{V}:1", f"{V}:2"}  # it is in use
            assert "(InUse)" in machine.run("plan").out
            assert "Ljubljana" in machine.run("ask", V, QUESTION).out
            until(lambda: len(answers) > 10)
        assert [answer for answer in answers if "Ljubljana" not in answer] == []
    with asking_for_the_newest(machine, V, QUESTION) as client:  # which never had the old one in its memory
        assert set(machine.index()) == {f"{V}:1", f"{V}:2"}
        before = len(client.answers)
        assert machine.run("apply").code == 0
        assert set(machine.index()) == {f"{V}:2"}
        until(lambda: len(client.answers) > before + 3)  # it goes on when the old one has gone
    assert client.failures == []
    assert client.releases == [f"{V}:2"]
    assert {"Ljubljana" in said for _, said in client.answers} == {True}


def test_back_and_again_forward_while_a_client_asks_by_name(machine: TestMachine) -> None:
    template(machine, "three")
    assert machine.run("apply").code == 0
    (number,) = (int(identity.rpartition(":")[2]) for identity in machine.index())
    done = machine.run("rollback", V, "--reason", "to see")
    assert done.code == 0, done.err
    assert set(machine.index()) == {f"{V}:{number + 1}"}
    assert "Ljubljana" in machine.run("ask", V, QUESTION).out
    assert machine.run("rollback", V, "--undo").code == 0
    assert machine.run("apply").code == 0
    assert set(machine.index()) == {f"{V}:{number + 2}"}
    assert machine.run("verify").code == 0


def test_another_runtime_is_measured_once_while_it_serves(machine: TestMachine) -> None:
    before, records = machine.index(), opened(machine).records
    digest = records.load().releases[V].release
    measured = records.measured().releases[digest]
    assert measured.load is not None
    old = replace(measured.load, runtime={**measured.load.runtime, "foundry-local-sdk": "2.1.0"})
    records.save_measured(replace(measured, load=old))
    assert machine.plan() == [f"verify RuntimeChanged {V}"]
    done = machine.run("apply")
    assert done.code == 0, done.err
    assert machine.index() == before
    assert machine.plan() == []
    load = opened(machine).records.measured().releases[digest].load
    assert load is not None
    assert load.runtime["foundry-local-sdk"] == metadata.version("foundry-local-sdk")
