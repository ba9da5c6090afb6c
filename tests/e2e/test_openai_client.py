"""A client that we did not write, against Foundry Local's own web service on the cache that we served: the same
answer at every precision that a manifest can declare."""

from pathlib import Path

import pytest

from tests.e2e.foundry_web import web_service
from tests.machine import TestMachine

pytestmark = pytest.mark.slow

PRECISIONS = ("fp32", "fp16", "int8", "int4")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path_factory.mktemp("openai"))
    one.give_model(capitals)
    one.declare(precisions=", ".join(PRECISIONS))
    done = one.run("apply")
    assert done.code == 0, done.err
    return one


def test_an_openai_client_gets_the_same_answer_at_every_precision(machine: TestMachine, tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")
    ids = [f"capitals-{precision}:1" for precision in PRECISIONS]
    with web_service(machine.cache, tmp_path / "web", *ids) as url:
        client = openai.OpenAI(base_url=url, api_key="not needed")
        assert {model.id for model in client.models.list()} >= set(ids)
        answers = {
            identity: client.chat.completions.create(
                model=identity,
                messages=[{"role": "user", "content": "What is the capital of Slovenia?"}],
                temperature=0,
            )
            .choices[0]
            .message.content.strip()
            for identity in ids
        }
    assert set(answers.values()) == {"The capital of Slovenia is Ljubljana."}
