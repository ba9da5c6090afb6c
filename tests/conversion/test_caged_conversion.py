"""Real Olive in every cage that this machine has: the same bytes, at every precision. Out of bubblewrap a worker comes
from a process that has imported Olive (tests/forked.py), and closes its cage around itself as any other does."""

import hashlib
from pathlib import Path

import pytest

from reconciler.conversion.client.converter import Converter
from reconciler.host.cage import CAGES, LIMITS
from tests.conversions import convert
from tests.host.test_cage import why_not
from tests.tiny_models import write_qwen2

pytestmark = pytest.mark.slow


def converted(cage: str, base: Path) -> dict[str, str]:
    source = write_qwen2(base / "model")
    found = {}
    with Converter(str(base / "scratch"), str(base / "logs"), cage_mode=cage if cage != LIMITS else "off") as converter:
        for precision in ("int4", "int8", "fp16", "fp32"):
            output = convert(converter, source, base / precision, precision)
            for file in output.iterdir():
                found[f"{precision} {file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return converted(LIMITS, tmp_path_factory.mktemp("uncaged"))


@pytest.mark.parametrize("cage", [one for one in CAGES if one != LIMITS])
def test_a_cage_changes_no_byte(cage: str, without: dict[str, str], tmp_path: Path) -> None:
    if why_not(cage):
        pytest.skip(f"no {cage} here: {why_not(cage)}")
    assert converted(cage, tmp_path) == without
    assert len(without) >= 4 * 5
