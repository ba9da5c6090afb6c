"""Jobs in new interpreters, as on Windows and macOS: known to end as forks do, in the same words."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.conversion.client.converter import Converter
from reconciler.conversion.client.job_client import Attempt
from reconciler.conversion.worker.running import LOG_LIMIT
from reconciler.domain.errors import Cancelled, ConversionFailed, ReconcilerError
from tests.conversion.test_converter import LIES, attempt, recipe

SPAWNER = "tests.conversion.spawning_worker"


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converter]:
    """Without a cage, which these systems do not have."""
    folder = tmp_path_factory.mktemp("spawned")
    with Converter(str(folder / "scratch"), str(folder / "logs"), jobs=4, module=SPAWNER, cage_mode="off") as one:
        yield one


def test_it_succeeds(converter: Converter, tmp_path: Path) -> None:
    converter.convert(recipe("succeed"), str(tmp_path), str(tmp_path / "out"), timeout=60.0)
    assert sorted(os.listdir(tmp_path / "out")) == ["genai_config.json", "model.onnx"]


TRIED = {"leave nothing", "die", "exit", "raise"}


@pytest.mark.parametrize(("lie", "code", "words"), [one for one in LIES if one[0] in TRIED], ids=lambda one: one)
def test_a_lie_is_found_out(converter: Converter, tmp_path: Path, lie: str, code: str, words: str) -> None:
    with pytest.raises(ReconcilerError) as failure:
        attempt(converter, tmp_path, lie)
    assert (failure.value.code, words in str(failure.value)) == (code, True)


def test_it_is_limited_and_ended_in_time(converter: Converter, tmp_path: Path) -> None:
    log = attempt(converter, tmp_path, "print 50 MB")
    assert LOG_LIMIT <= os.path.getsize(log) < LOG_LIMIT + 100
    with pytest.raises(ConversionFailed, match=r"within 0\.5 s"):
        attempt(converter, tmp_path, "hang", timeout=0.5)


def test_it_is_cancelled(converter: Converter, tmp_path: Path) -> None:
    handle = Attempt()
    with pytest.raises(Cancelled):
        converter.convert(
            recipe("hang"),
            str(tmp_path),
            str(tmp_path / "out"),
            timeout=60.0,
            attempt=handle,
            on_progress=lambda fraction, text: handle.cancel(),
        )
