"""What the decoding gate reads of a model, and what it says of the numbers. tests/conversion/test_decoding.py has real
models."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.backends.foundry import decoding
from reconciler.domain.errors import PermanentError
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import Measured, Numbers
from reconciler.domain.sources.model_config import boundaries
from reconciler.domain.targets.execution_providers import CONVERTIBLE
from reconciler.domain.verdict import Verdict
from reconciler.gates.decoding import DecodingGate, Stretch, stretches
from reconciler.gates.judgement import judge
from tests.releases import DECODED_ALIKE

TINY, HALF_BILLION, EIGHT_BILLION = 2 << 20, 862 << 20, 5 << 30  # bytes of weights
USUAL = Stretch(prompt=16, length=300, cuts=())
LONG = {"rope_type": "longrope", "original_max_position_embeddings": 4096}


def test_a_small_model_is_read_to_the_end_one_by_one() -> None:
    assert stretches(TINY, 320, 4096, {}) == ([USUAL], [])


@pytest.mark.parametrize(("weights", "length", "single"), [(HALF_BILLION, 50, 26), (EIGHT_BILLION, 48, 16)])
def test_a_large_one_as_far_as_the_budget_goes_but_in_any_case_some_tokens(
    weights: int, length: int, single: int
) -> None:
    assert stretches(weights, 151936, 32768, {}) == ([Stretch(prompt=length - single, length=length, cuts=())], [])


def test_what_is_asked_for_is_read_whatever_it_costs() -> None:
    window = {"the sliding window": 600, "twice the sliding window": 1200}
    asked = Stretch(prompt=16, length=700, cuts=(600,))
    assert stretches(EIGHT_BILLION, 151936, 32768, window, 700) == (
        [asked],
        ["twice the sliding window of 1,200 tokens"],
    )
    assert stretches(EIGHT_BILLION, 151936, 100, {}, 700) == ([Stretch(prompt=16, length=99, cuts=())], [])


def test_fewer_tokens_than_are_asked_for_are_measured_again() -> None:
    held = Numbers(
        precision="int4", fidelity=None, measured=Measured(release="r", build_key="b", decoded=DECODED_ALIKE)
    )
    assert not DecodingGate().missing(held)
    assert DecodingGate(tokens=400).missing(held)
    known = replace(held.measured, decoded=replace(DECODED_ALIKE, asked=400))
    assert not DecodingGate(tokens=400).missing(replace(held, measured=known))


def test_what_changes_on_the_way_cuts_the_text_there() -> None:
    ((found,), _) = stretches(TINY, 320, 4096, {"the sliding window": 64, "twice the sliding window": 128})
    assert found == replace(USUAL, cuts=(64, 128))


def test_what_changes_later_is_a_stretch_of_its_own_or_is_named() -> None:
    long = {"the original context": 4096}
    assert stretches(TINY, 320, 8192, long) == ([USUAL, Stretch(prompt=4088, length=4112, cuts=(4096,))], [])
    assert stretches(HALF_BILLION, 32064, 8192, long)[1] == ["the original context of 4,096 tokens"]
    assert stretches(TINY, 320, 4096, long) == ([USUAL], [])  # no text is so long


def test_a_window_of_a_few_tokens_is_crossed_from_the_first() -> None:
    found, _ = stretches(TINY, 320, 512, {"the sliding window": 4})
    assert found == [USUAL, Stretch(prompt=1, length=20, cuts=(4,))]


def test_a_context_of_a_few_tokens_is_enough() -> None:
    assert stretches(TINY, 320, 32, {"the original context": 24})[0] == [Stretch(prompt=16, length=31, cuts=(24,))]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, {}),
        ({"sliding_window": 64}, {"the sliding window": 64, "twice the sliding window": 128}),
        ({"sliding_window": 64, "use_sliding_window": False}, {}),
        ({"rope_parameters": LONG}, {"the original context": 4096}),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 8}, {"the original context": 8}),
        ({"original_max_position_embeddings": 8}, {}),  # nothing is stretched
    ],
)
def test_where_a_model_begins_to_compute_otherwise(config: dict[str, object], found: dict[str, int]) -> None:
    assert boundaries(config) == found


def verdicts(precision: str = "int4", gate: DecodingGate | None = None, **found: object) -> list[Verdict]:
    measured = Measured(release="r", build_key="b", decoded=replace(DECODED_ALIKE, **found))
    spec = GateSpec.of(gate) if gate else GateSpec()
    return [one for one in judge(spec, precision, None, measured) if one.gate == "decoding"]


@pytest.mark.parametrize("precision", CONVERTIBLE)
def test_what_differs_rejects(precision: str) -> None:
    (verdict,) = verdicts(precision, median_kl=0.01)
    assert (verdict.status, verdict.rejects) == ("Failed", True)
    assert "284 tokens one by one within 300 against the whole text: median divergence 0.01" in verdict.message


def test_a_bar_can_be_declared() -> None:
    (verdict,) = verdicts(gate=DecodingGate(max_median_kl=0.02), median_kl=0.01)
    assert (verdict.status, verdict.bar) == ("Successful", 0.02)


def test_what_was_too_far_is_said() -> None:
    _, said = verdicts(unmeasured=("the sliding window of 4,096 tokens",))
    assert (said.status, said.rejects) == ("Inconclusive", False)
    assert said.message == "not measured: the sliding window of 4,096 tokens (too far for the budget)"


def test_another_method_is_no_measurement() -> None:
    (verdict,) = verdicts(method="sha256:0")
    assert verdict.status == "Inconclusive"


class NoTokens:
    def __init__(self, folder: str) -> None: ...

    def encode(self, text: str) -> list[int]:
        return []

    def close(self) -> None: ...


def test_texts_without_a_token_are_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(decoding, "RuntimeTokenizer", NoTokens)
    (tmp_path / "genai_config.json").write_text('{"model": {"vocab_size": 320, "context_length": 64}}')
    with pytest.raises(PermanentError, match="no token of any text"):
        decoding.decoded(str(tmp_path), {})
