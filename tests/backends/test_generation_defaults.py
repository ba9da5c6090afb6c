"""What a source's generation_config.json asks for acts in the runtime that serves: the answer changes."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.foundry.foundry import Foundry
from reconciler.backends.foundry.genai_config import genai_config
from reconciler.conversion.worker.taken_over import take_over
from reconciler.domain.manifest import Generation
from tests.backends.test_serving_foundry import runtime
from tests.converted_model import converted_model
from tests.tiny_models import write_tokenizer

Answering = Callable[..., str]
UNSAID = Generation()
GREEDY = {"do_sample": False}


@pytest.fixture(scope="module")
def foundry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    folder = tmp_path_factory.mktemp("defaults")
    with runtime(folder / "cache", folder) as one:
        yield one


@pytest.fixture
def answer(foundry: Foundry, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Answering:
    """What a model answers whose source has this generation_config.json, and whose manifest says this."""
    model, numbers = converted_model(tmp_path_factory), count()

    def ask(generation: Generation = UNSAID, **settings: Any) -> str:
        source, served = tmp_path / f"source-{(number := next(numbers))}", tmp_path / f"served-{number}"
        source.mkdir()
        write_tokenizer(source)
        (source / "generation_config.json").write_text(json.dumps({"eos_token_id": 258} | settings))
        shutil.copytree(model, served)  # no links: other tests read the same files meanwhile
        path = served / "genai_config.json"
        take_over(str(source), str(served))
        config = genai_config(path.read_bytes(), generation)
        path.write_text(json.dumps(config))
        foundry.register(str(served), identity := f"{tmp_path.name.replace('_', '-')}:{number + 1}", {})
        return foundry.ask(identity, [("user", "aaaa bbbb aaaa bbbb")], 40).text

    return ask


def test_a_greedy_source_is_served_greedily(answer: Answering) -> None:
    greedy = answer(**GREEDY)
    assert len(greedy) > 3
    assert [answer(**GREEDY), answer(), answer(do_sample=True, top_k=1)] == [greedy] * 3
    assert answer(do_sample=True, temperature=2.0) != greedy
    assert answer(do_sample=True, temperature=2.0, top_k=0) != greedy
    assert answer(Generation(temperature=2.0), **GREEDY) != greedy


@pytest.mark.parametrize("setting", [{"repetition_penalty": 2.0}, {"no_repeat_ngram_size": 1}])
def test_repeating_is_held_back_as_the_source_asks(answer: Answering, setting: dict[str, Any]) -> None:
    assert answer(**GREEDY, **setting) != answer(**GREEDY)


def test_each_of_several_end_tokens_ends_an_answer(answer: Answering) -> None:
    whole = answer(**GREEDY)
    end = next(byte for byte in whole.encode()[1:] if 32 < byte < 127)
    assert answer(**GREEDY, eos_token_id=[258, end]) == whole[: whole.index(chr(end)) + 1]  # shown: it is not special
    assert chr(end) not in answer(**GREEDY, eos_token_id=[258, end], min_length=400)  # too early
