"""docs/fidelity.md is what the default gates say of what was measured: whoever moves a bar sees it there.

The measuring itself is `python -m bench.fidelity`; tests/conversion/test_fidelity.py does a part of it in every run.
"""

from typing import Any

import pytest

from bench.fidelity import EDITED, IN_ANSWERS, LATE, PAGE, RIGHT, TRAINED, WRONG
from bench.fidelity_page import PRECISIONS, page
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import TEXTS_DIGEST, Decoded, Fidelity, Measured, Tokenized
from reconciler.domain.plain_data import as_dict
from reconciler.gates.decoding import METHOD
from reconciler.gates.hard_texts import TEXTS_DIGEST as HARD_TEXTS
from reconciler.gates.judgement import judge, rejections

NAMES = {*RIGHT, TRAINED, *WRONG, *LATE}


def rows() -> list[dict[str, Any]]:
    """The tables of the page, judged again by the gates as they are now."""
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    edits = {one[0] for one in EDITED}
    families = [row(*cells) for cells in lines if cells[0] in NAMES]
    return families + [edited_row(*cells) for cells in lines if cells[0] in edits]


def row(name: str, architecture: str, precision: str, *cells: str) -> dict[str, Any]:
    said = {"name": name, "architecture": architecture, "precision": precision}
    if cells[-1] == "does not convert":
        return said | {"error": cells[-1]}
    top1, kl, ratio, wiring, rounding = (None if cell == "-" else float(cell) for cell in cells[:5])
    assert top1 is not None
    assert kl is not None
    assert ratio is not None
    found = Fidelity(
        build_key="b",
        prompts=TEXTS_DIGEST,
        positions=1000,
        top1_agreement=top1,
        mean_kl=kl,
        perplexity_ratio=ratio,
        wiring_kl=wiring,
        rounding_distance=rounding,
    )
    differing, tried = map(int, cells[7].split(" of "))
    tokenized = Tokenized(texts=HARD_TEXTS, tried=tried, differing=differing, decomposed=0)
    decoded = read(cells[5], cells[6])
    parts = {"fidelity": as_dict(found), "decoded": as_dict(decoded), "tokenized": as_dict(tokenized)}
    return said | parts | {"rejected": rejected(precision, found, decoded=decoded, tokenized=tokenized)}


def edited_row(edited: str, name: str, precision: str, *cells: str) -> dict[str, Any]:
    decoded = read(*cells[:2])
    said = {"edited": edited, "name": name, "precision": precision, "decoded": as_dict(decoded)}
    return said | {"rejected": rejected(precision, None, decoded=decoded)}


def read(median: str, tokens: str) -> Decoded:
    positions, longest = map(int, tokens.split(" of "))
    return Decoded(method=METHOD, positions=positions, longest=longest, median_kl=float(median))


def rejected(precision: str, fidelity: Fidelity | None, **measured: Any) -> list[str]:
    held = Measured(release="r", build_key="b", **measured)
    return [verdict.measure for verdict in rejections(judge(GateSpec(), precision, fidelity, held))]


def test_the_page_is_what_the_gates_say_of_its_numbers() -> None:
    assert page(rows(), wrong=WRONG, late=IN_ANSWERS) == PAGE.read_text()


def test_at_least_twelve_architectures_at_every_precision() -> None:
    for precision in PRECISIONS:
        of_precision = [one for one in rows() if one["precision"] == precision and "edited" not in one]
        assert {one["name"] for one in of_precision} == NAMES
        measured = [one for one in of_precision if "error" not in one]
        assert len({one["architecture"] for one in measured}) >= 12


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_default_gates_reject_all_that_is_wrong_and_nothing_that_is_right(precision: str) -> None:
    of_precision = [one for one in rows() if one["precision"] == precision and "error" not in one]
    judged = {one["name"]: bool(one["rejected"]) for one in of_precision if "edited" not in one}
    assert {name for name, refused in judged.items() if refused} == judged.keys() & {*WRONG, *LATE}
    assert all(one["rejected"] for one in of_precision if "edited" in one)
    assert len(judged.keys() & {*WRONG}) >= 8
