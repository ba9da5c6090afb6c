"""What the reference gate says of its numbers, what counts as reference answers, and what is compared with them.
tests/conversion/test_reference.py has real models."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from reconciler.backends.foundry.references import NONE, OTHER, TOO_FAR, Answers
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import WORST, Measured, Referenced
from reconciler.domain.plain_data import as_dict
from reconciler.domain.reference import METHOD, Reference, from_plain, places_of
from reconciler.domain.targets.execution_providers import CONVERTIBLE
from reconciler.domain.verdict import Verdict
from reconciler.gates.judgement import judge
from reconciler.gates.reference import ReferenceGate, read, written
from tests.references import LOGS, reference_of
from tests.releases import FOUND_ALIKE

KEY = "sha256:" + "1" * 64
REFERENCE = reference_of(KEY)


def verdicts(precision: str = "int4", gate: ReferenceGate | None = None, **found: object) -> list[Verdict]:
    measured = Measured(release="r", build_key="b", referenced=replace(FOUND_ALIKE, **found))
    spec = GateSpec.of(gate) if gate else GateSpec()
    return [one for one in judge(spec, precision, None, measured) if one.gate == "reference"]


@pytest.mark.parametrize("precision", CONVERTIBLE)
def test_what_is_found_otherwise_than_at_its_builder_rejects(precision: str) -> None:
    assert [one.status for one in verdicts(precision)] == ["Successful"] * 2
    median, mean = verdicts(precision, median_kl=0.01)
    assert (median.status, median.rejects, mean.rejects) == ("Failed", True, False)
    assert "48 tokens against the same artifact where it was built: median divergence 0.01" in median.message


def test_its_own_loss_is_not_held_against_the_machine() -> None:
    _, mean = verdicts(source_kl=0.4, built_kl=0.4)
    assert (mean.status, mean.bar) == ("Successful", pytest.approx(0.6))
    _, mean = verdicts(source_kl=0.7, built_kl=0.4)
    assert (mean.status, mean.rejects) == ("Failed", True)
    assert "45 of 48 tokens likeliest in both (45 where it was built)" in mean.message


def test_bars_can_be_declared() -> None:
    gate = ReferenceGate(max_median_kl=0.02, max_excess_kl=0.5)
    found = verdicts(gate=gate, median_kl=0.01, source_kl=0.7)
    assert [(one.status, one.bar) for one in found] == [("Successful", 0.02), ("Successful", 0.75)]


def test_without_reference_answers_it_is_open_and_for_older_measurements_not_asked() -> None:
    [open_one] = verdicts(unmeasured=NONE)
    assert (open_one.status, open_one.rejects, open_one.message) == ("Inconclusive", False, f"not measured: {NONE}")
    assert verdicts(method="sha256:0") == []
    assert [
        one for one in judge(GateSpec(), "int4", None, Measured(release="r", build_key="b")) if one.gate == "reference"
    ] == []


def test_they_are_read_as_they_were_written() -> None:
    assert read(written(REFERENCE), KEY) == REFERENCE
    assert from_plain(json.loads(json.dumps(as_dict(REFERENCE)))) == REFERENCE
    assert read(written(REFERENCE), "sha256:" + "2" * 64) is None


@pytest.mark.parametrize(
    "change",
    [
        {"places": []},
        {"tokens": [5, 6, 7]},  # the last place lies behind them
        {"tokens": [5, 6, 7, -1]},
        {"tokens": [1] * 1025},
        {"least": 9, "most": 3},
        {"more": 1},
        {"places": [{**as_dict(REFERENCE.places[0]), "source": [*LOGS, -1.0]}]},
        {"places": [{**as_dict(REFERENCE.places[0]), "built": [0.5, -1.0, -1.0]}]},
        {"places": [{**as_dict(REFERENCE.places[0]), "tokens": [1, 1]}]},
        {"places": [as_dict(REFERENCE.places[0])] * 2},
        {"build_key": 1},
    ],
)
def test_what_has_another_form_is_none(change: dict[str, Any]) -> None:
    assert read(json.dumps({**as_dict(REFERENCE), **change}).encode(), KEY) is None


def test_neither_is_what_is_no_json_or_too_large() -> None:
    for data in (b"", b"[]", b"{}", b"NaN", b"[" * 5000, written(REFERENCE) + b" " * (256 << 10)):
        assert read(data, KEY) is None


def test_places_are_spread() -> None:
    assert places_of(1) == [0]
    assert places_of(50)[:1] + places_of(50)[-1:] == [0, 49]
    assert len(places_of(300)) == 48
    assert places_of(300)[-1] == 299


class Read:
    """Finds the same at each place: a half for the first of its tokens, a quarter for the second."""

    def __init__(self, *, wrong_from: int = 99) -> None:
        self._wrong_from = wrong_from

    def outputs(self, begin: int, end: int | None = None) -> Any:
        numpy = pytest.importorskip("numpy")
        rows = numpy.full((4, 320), numpy.log(0.25 / 318), dtype=numpy.float32)
        for place, row in enumerate(rows):
            first = place + 1 if place < self._wrong_from else 200
            row[first], row[9] = LOGS[:2]
        return rows[begin:end]


def compared(reference: Reference | None, text: Sequence[int] = (5, 6, 7, 8), *, wrong_from: int = 99) -> Referenced:
    answers = Answers(reference, 320, [len(text)])
    answers.look(text, Read(wrong_from=wrong_from))
    return answers.found


def test_what_is_found_as_at_the_builder_is_no_divergence() -> None:
    found = compared(REFERENCE)
    assert (found.positions, found.agreed, found.built_agreed, found.unmeasured) == (3, 3, 3, "")
    assert max(found.median_kl, found.source_kl) < 1e-9
    found = compared(REFERENCE, wrong_from=2)
    assert (found.positions, found.agreed) == (3, 1)
    assert found.median_kl > 1
    assert found.source_kl > found.built_kl + 1


def test_what_is_no_number_is_as_bad_as_can_be() -> None:
    numpy = pytest.importorskip("numpy")
    answers = Answers(REFERENCE, 320, [4])
    read = Read()
    read.outputs = lambda begin, end=None: numpy.full((4, 320), numpy.nan, dtype=numpy.float32)  # type: ignore[method-assign]
    answers.look((5, 6, 7, 8), read)
    assert (answers.found.median_kl, answers.found.source_kl) == (WORST, WORST)


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (None, NONE),
        (replace(REFERENCE, method="sha256:0"), OTHER),
        (replace(REFERENCE, tokens=(5, 6, 7, 320)), OTHER),
        (replace(REFERENCE, least=5), TOO_FAR),
        (replace(REFERENCE, most=3), TOO_FAR),
    ],
)
def test_what_cannot_be_compared_says_why(reference: Reference | None, why: str) -> None:
    assert compared(reference) == Referenced(method=METHOD, unmeasured=why)


def test_a_text_that_goes_on_otherwise_is_compared_up_to_there() -> None:
    """As where the runtime reads all again before it chooses."""
    assert compared(REFERENCE, (5, 6, 7, 1)).positions == 2


def test_of_many_readings_the_shortest_that_covers_most_is_taken() -> None:
    answers = Answers(REFERENCE, 320, [2, 300, 4112])
    answers.look((5, 6), Read())
    assert answers.found.unmeasured == TOO_FAR
    answers.look((5, 6, 7, 8, *[1] * 296), Read())
    assert answers.found.positions == 3
