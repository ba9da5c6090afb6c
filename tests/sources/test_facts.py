"""Facts of sources outlive the program that wrote them: weights are let go once the store has them, so a machine that
cannot read its facts fetches them all again."""

from pathlib import Path

import pytest

from reconciler.host.stamps import StampBook
from reconciler.sources.facts import model_facts, read_model_facts
from reconciler.sources.folder.model import inspect_source

WRITTEN = Path(__file__).parent / "facts"  # by this program at commit 3cb7459; never to be written anew
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("name", "ready"), [("capitals", False), ("ready-onnx", True)])
def test_what_an_earlier_version_wrote_is_read(name: str, ready: bool) -> None:
    now = inspect_source(str(EXAMPLES / name / "model"), StampBook.empty(), ready=ready)
    found = read_model_facts((WRITTEN / f"{name}.json").read_bytes())
    assert found is not None
    assert found == read_model_facts(model_facts(now))
