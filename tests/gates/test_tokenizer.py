"""The runtime's tokenizer against the source's: what differs is found, with the shortest text that shows it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.backends.foundry.foundry import Foundry
from reconciler.conversion.worker.taken_over import take_over
from reconciler.domain.errors import PermanentError
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import Measured, Tokenized
from reconciler.domain.sources.tokenizer_file import unreadable
from reconciler.domain.verdict import FAILED, INCONCLUSIVE, SUCCESSFUL, Verdict
from reconciler.gates.hard_texts import TEXTS, TEXTS_DIGEST
from reconciler.gates.judgement import judge, ways_out
from reconciler.gates.tokenizer import TokenizerGate
from tests.backends.test_serving_foundry import runtime
from tests.tiny_models import write_tokenizer
from tests.tokenizer_zoo import COMPOSED_ALIKE, NOT_READ, READ_ALIKE, READ_OTHERWISE, Settings, tokenizer, write


@pytest.fixture(scope="module")
def foundry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    folder = tmp_path_factory.mktemp("tokenizers")
    with runtime(folder / "cache", folder) as one:
        yield one


def compared(foundry: Foundry, folder: Path, settings: Settings) -> Tokenized:
    """As it is served: with what an artifact takes over from its source."""
    write(folder, settings)
    take_over(str(folder), str(artifact := write(folder / "artifact", settings)))
    return foundry.compare_tokenizer(str(artifact))


@pytest.mark.parametrize("settings", READ_ALIKE.values(), ids=READ_ALIKE)
def test_what_is_read_alike_passes(foundry: Foundry, tmp_path: Path, settings: Settings) -> None:
    found = compared(foundry, tmp_path, settings)
    assert (found.shortest, found.differing, found.decomposed) == ("", 0, 0)
    assert found.tried > len(TEXTS) > 150


def test_without_a_token_at_the_beginning_a_first_prefix_differs(foundry: Foundry, tmp_path: Path) -> None:
    write(tmp_path, READ_ALIKE["Metaspace, a first prefix"])
    (tmp_path / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    assert foundry.compare_tokenizer(str(tmp_path)).differing > 10


@pytest.mark.parametrize("settings", COMPOSED_ALIKE.values(), ids=COMPOSED_ALIKE)
def test_a_decomposed_text_alone_is_no_difference(foundry: Foundry, tmp_path: Path, settings: Settings) -> None:
    found = compared(foundry, tmp_path, settings)
    assert (found.shortest, found.differing) == ("", 0)
    assert found.decomposed > 2


@pytest.mark.parametrize(("settings", "shortest"), READ_OTHERWISE.values(), ids=READ_OTHERWISE)
def test_what_is_read_otherwise_is_shown(foundry: Foundry, tmp_path: Path, settings: Settings, shortest: str) -> None:
    found = compared(foundry, tmp_path, settings)
    assert found.differing > 0
    assert (json.loads(found.shortest), found.source != found.served) == (shortest, True)


@pytest.mark.parametrize(("settings", "why"), NOT_READ.values(), ids=NOT_READ)
def test_what_cannot_be_read_is_known_before(foundry: Foundry, tmp_path: Path, settings: Settings, why: str) -> None:
    assert why in unreadable(json.loads(tokenizer(settings)))
    with pytest.raises(PermanentError) as caught:
        foundry.compare_tokenizer(str(write(tmp_path, settings)))
    assert caught.value.code == "TokenizerUnloadable"


@pytest.mark.parametrize("settings", [*READ_ALIKE.values(), *(one for one, _ in READ_OTHERWISE.values())])
def test_what_can_be_read_is_not_refused_before(settings: Settings) -> None:
    assert unreadable(json.loads(tokenizer(settings))) == ""


def test_the_tokenizer_of_the_tiny_models_is_read_alike(foundry: Foundry, tmp_path: Path) -> None:
    write(tmp_path, {})
    write_tokenizer(tmp_path)
    assert foundry.compare_tokenizer(str(tmp_path)).differing == 0


FOUND = Tokenized(texts=TEXTS_DIGEST, tried=9, differing=0, decomposed=0)
OTHERWISE = {"differing": 2, "shortest": json.dumps(" 1"), "source": "ids 5", "served": "ids 3 4"}


def verdicts(gate: TokenizerGate, **found: object) -> list[Verdict]:
    tokenized = Tokenized(**{**vars(FOUND), **found})
    measured = Measured(release="r", build_key="b", tokenized=tokenized)
    return [one for one in judge(GateSpec.of(gate), "int4", None, measured) if one.gate == "tokenizer"]


def test_a_difference_rejects_and_names_the_shortest_text() -> None:
    (verdict,) = verdicts(TokenizerGate(), **OTHERWISE)
    assert (verdict.status, verdict.rejects) == (FAILED, True)
    assert verdict.message == (
        "2 of 9 texts differ from the source's tokenizer; "
        'the shortest is " 1": ids 5 by the source, ids 3 4 by the runtime'
    )


def test_a_difference_can_be_a_warning() -> None:
    (verdict,) = verdicts(TokenizerGate(on_difference="warn"), **OTHERWISE)
    assert (verdict.status, verdict.rejects) == (FAILED, False)


def test_decomposed_texts_are_a_statement_that_leaves_nothing_open() -> None:
    (verdict,) = verdicts(TokenizerGate(), decomposed=5)
    assert (verdict.status, "9 texts are read" in verdict.message) == (SUCCESSFUL, True)
    assert verdict.message.endswith(", 5 of them once they are composed (NFC)")


def test_the_shortest_text_can_be_read() -> None:
    (verdict,) = verdicts(TokenizerGate(), **OTHERWISE | {"shortest": json.dumps('\u0120é"e\u0301\u200b\n')})
    assert 'the shortest is "Ġé\\"e\\u0301\\u200b\\n": ids 5' in verdict.message


def test_the_way_out_is_no_bar() -> None:
    """Nothing of the tokenizer can be relaxed, and all of what can be done is named once."""
    failed = verdicts(TokenizerGate(), **OTHERWISE)
    assert "relax" not in ways_out(failed)
    assert "onDifference: warn" in ways_out(failed + failed)
    assert ways_out(failed + failed).count("onDifference") == 1


def test_other_texts_are_no_measurement() -> None:
    (verdict,) = verdicts(TokenizerGate(), texts="sha256:0")
    assert (verdict.status, verdict.message) == (INCONCLUSIVE, "not measured yet")
