"""docs/fidelity.md is what the default gates say of what was measured: whoever moves a bar sees it there.

The measuring itself is `python -m bench.fidelity`; tests/conversion/test_fidelity.py does a part of it in every run.
"""

from typing import Any

import pytest

from bench.fidelity import PAGE, PRECISIONS, RIGHT, TRAINED, WRONG, page
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import TEXTS_DIGEST, Fidelity
from reconciler.domain.plain_data import as_dict
from reconciler.gates.judgement import judge, rejections


def rows() -> list[dict[str, Any]]:
    """The table of the page, judged again by the gates as they are now."""
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    known = {*RIGHT, TRAINED, *WRONG}
    return [row(*cells) for cells in lines if cells[0] in known]


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
    rejected = [verdict.measure for verdict in rejections(judge(GateSpec(), precision, found, None))]
    return said | {"fidelity": as_dict(found), "rejected": rejected}


def test_the_page_is_what_the_gates_say_of_its_numbers() -> None:
    assert page(rows()) == PAGE.read_text()


def test_at_least_twelve_architectures_at_every_precision() -> None:
    for precision in PRECISIONS:
        of_precision = [one for one in rows() if one["precision"] == precision]
        assert {one["name"] for one in of_precision} == {*RIGHT, TRAINED, *WRONG}
        measured = [one for one in of_precision if "error" not in one]
        assert len({one["architecture"] for one in measured}) >= 12


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_default_gates_reject_all_that_is_wrong_and_nothing_that_is_right(precision: str) -> None:
    judged = {
        one["name"]: bool(one["rejected"]) for one in rows() if one["precision"] == precision and "error" not in one
    }
    assert {name for name, rejected in judged.items() if rejected} == judged.keys() & {*WRONG}
    assert len(judged.keys() & {*WRONG}) >= 8
