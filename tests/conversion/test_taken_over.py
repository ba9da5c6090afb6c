"""What an artifact takes over from its source."""

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.conversion.worker.taken_over import take_over
from reconciler.domain.errors import ConversionFailed
from tests.tiny_models import write_qwen2

BUILT = {"model": {"eos_token_id": None, "pad_token_id": None, "vocab_size": 320}, "search": {"top_k": -1}}
GREEDY = {"num_beams": 1, "do_sample": False, "temperature": 1.0, "top_k": 1, "top_p": 1.0}
SAMPLING = GREEDY | {"do_sample": True, "top_k": 50}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_qwen2(tmp_path / "source")


def taken(source: Path, generation: dict[str, Any], config: dict[str, Any] | None = None) -> dict[str, Any]:
    (source / "generation_config.json").write_text(json.dumps(generation))
    (source / "config.json").write_text(json.dumps(config or {}))
    artifact = source.parent / "artifact"
    artifact.mkdir(exist_ok=True)
    (artifact / "genai_config.json").write_text(json.dumps(BUILT))
    (artifact / "tokenizer.json").write_text("{}")
    (artifact / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", "a": 1}))
    take_over(str(source), str(artifact))
    found: dict[str, Any] = json.loads((artifact / "genai_config.json").read_text())
    return found


# By what transformers does with it: it is greedy unless it is asked to sample.
SEARCH = [
    ({}, GREEDY),
    ({"do_sample": None, "temperature": 0.7}, GREEDY | {"temperature": 0.7}),
    ({"do_sample": False, "top_k": 40}, GREEDY),
    ({"do_sample": True}, SAMPLING),
    ({"do_sample": True, "temperature": 0.7, "top_k": 0}, SAMPLING | {"temperature": 0.7, "top_k": 0}),
    ({"do_sample": True, "temperature": 0}, GREEDY),  # transformers stops at this one
    (
        {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
        GREEDY | {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
    ),
    (
        {"do_sample": True, "repetition_penalty": None, "no_repeat_ngram_size": "2", "top_k": -1, "top_p": True},
        SAMPLING,
    ),
]


@pytest.mark.parametrize(("generation", "found"), SEARCH)
def test_settings_that_act_are_taken_over(source: Path, generation: dict[str, Any], found: dict[str, Any]) -> None:
    assert taken(source, {"eos_token_id": 258} | generation)["search"] == found


def test_without_a_file_of_its_own_the_configuration_of_the_model_is_asked(source: Path) -> None:
    config = {"do_sample": True, "temperature": 0.5}
    assert taken(source, {}, config)["search"] == SAMPLING | {"temperature": 0.5}
    assert taken(source, {"eos_token_id": 258}, config)["search"] == GREEDY


def test_every_end_token_is_taken_over(source: Path) -> None:
    found = taken(source, {"eos_token_id": [5, 7, 5, None, 320, 4000]}, {"eos_token_id": 9})["model"]
    assert found == {"eos_token_id": [5, 7, 9, 258], "pad_token_id": 5, "vocab_size": 320}
    assert taken(source, {})["model"]["eos_token_id"] == 258  # the tokenizer's own


def test_the_tokenizer_is_the_source_s_own_file(source: Path) -> None:
    """Under a name of a class by which the runtime goes by that file."""
    taken(source, {})
    artifact = source.parent / "artifact"
    assert (artifact / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    settings = json.loads((artifact / "tokenizer_config.json").read_text())
    assert settings == {"tokenizer_class": "PreTrainedTokenizerFast", "a": 1, "clean_up_tokenization_spaces": False}


def test_without_an_end_token_there_is_no_artifact(source: Path) -> None:
    (source / "tokenizer_config.json").unlink()
    with pytest.raises(ConversionFailed, match="no token ends"):
        taken(source, {})
