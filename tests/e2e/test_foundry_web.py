"""What we register is what Foundry Local's own web service answers with."""

import json
import urllib.error
from pathlib import Path

import pytest

from reconciler.backends.foundry.foundry import Foundry
from reconciler.backends.foundry.served_files import written_files
from reconciler.domain.manifest import Generation
from tests.converted_model import converted_model, release_of
from tests.e2e.foundry_web import chat, web_service

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted_model(tmp_path_factory)


def serve(model: Path, folder: Path, generation: Generation) -> Path:
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    written = written_files(
        release_of(generation=generation),
        1,
        (model / "genai_config.json").read_bytes(),
        (model / "tokenizer_config.json").read_bytes(),
    )
    for name, data in written.items():
        (folder / name).write_bytes(data)
    return folder


def test_a_client_of_the_web_service_gets_the_answer_that_ask_gets(tmp_path: Path, model: Path) -> None:
    served = serve(model, tmp_path / "served", Generation())
    scratch, cache = tmp_path / "scratch", tmp_path / "cache"
    with Foundry(str(cache), scratch=str(scratch), log=str(tmp_path / "log")) as foundry:
        foundry.register(str(served), "tiny-int4:1", {"reconciler_owner": "me"})
        ours = foundry.ask("tiny-int4:1", [("user", "Hello")], 12, temperature=0.0)
    with web_service(cache, tmp_path / "web", "tiny-int4:1") as url:
        theirs = chat(url, "tiny-int4:1", HELLO, max_tokens=12, temperature=0)
        with pytest.raises(urllib.error.HTTPError):
            chat(url, "tiny-int4", HELLO)  # inference takes the full id
    assert theirs["choices"][0]["message"]["content"] == ours.text
    assert theirs["usage"]["prompt_tokens"] == ours.prompt_tokens


GREEDY = {
    "temperature 0": Generation(temperature=0.0),
    "top_k 1": Generation(temperature=0.7, top_k=1),
    "a fixed seed": Generation(temperature=0.7, random_seed=7),
}


@pytest.mark.parametrize("generation", GREEDY.values(), ids=GREEDY)
def test_the_manifests_defaults_decide_when_the_request_says_nothing(
    tmp_path: Path, model: Path, generation: Generation
) -> None:
    served = serve(model, tmp_path / "served", generation)
    with Foundry(str(tmp_path / "cache"), scratch=str(tmp_path / "scratch"), log=str(tmp_path / "log")) as foundry:
        foundry.register(str(served), "tiny-int4:1", {})
        answers = {foundry.ask("tiny-int4:1", [("user", "Hello")], 24).text for _ in range(4)}
    assert len(answers) == 1


def test_without_defaults_the_answers_differ(tmp_path: Path, model: Path) -> None:
    """The counter-check: sampling is on unless the release says otherwise."""
    served = serve(model, tmp_path / "served", Generation(temperature=2.0))
    assert json.loads((served / "genai_config.json").read_text())["search"]["do_sample"] is True
    with Foundry(str(tmp_path / "cache"), scratch=str(tmp_path / "scratch"), log=str(tmp_path / "log")) as foundry:
        foundry.register(str(served), "tiny-int4:1", {})
        answers = {foundry.ask("tiny-int4:1", [("user", "Hello")], 24).text for _ in range(4)}
    assert len(answers) > 1
