"""The converter beside a worker that lies, hangs and dies: the end of each attempt is known, in time, in one line."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.conversion.client.converter import KEPT_LOGS, Converter
from reconciler.conversion.client.job_client import Attempt
from reconciler.conversion.worker.running import LOG_LIMIT
from reconciler.domain.errors import Cancelled, ConversionFailed, ConverterLost, DiskFull, ReconcilerError
from reconciler.domain.manifest import Target
from reconciler.domain.release import Recipe
from reconciler.host.places import install_command
from tests.waiting import PATIENCE, until

LIAR = "tests.conversion.lying_worker"


@pytest.fixture
def converter(tmp_path: Path) -> Iterator[Converter]:
    with Converter(str(tmp_path / "scratch"), str(tmp_path / "logs"), jobs=4, module=LIAR) as one:
        yield one


def recipe(algorithm: str) -> Recipe:
    return Recipe(
        source="sha256:s",
        adapter=None,
        architecture="",
        precision="int4",
        options={"algorithm": algorithm},
        target=Target(),
        tools={},
    )


def attempt(converter: Converter, tmp_path: Path, lie: str, timeout: float = PATIENCE) -> str:
    """Returns the log."""
    return converter.convert(recipe(lie), str(tmp_path), str(tmp_path / "out"), timeout=timeout)


LIES = [
    ("leave nothing", "ConversionFailed", "left no model.onnx"),
    ("leave it empty", "ConversionFailed", "left no model.onnx"),
    ("leave a part", "ConversionFailed", "left no genai_config.json"),
    ("die", "ConverterLost", "killed by SIGKILL (out of memory?)"),
    ("exit", "ConversionFailed", "exit code 0 and no answer"),
    ("answer 5", "ConversionFailed", "answered with something else than a mapping"),
    ("answer a list", "ConversionFailed", "answered with something else than a mapping"),
    ("answer an error of 5", "ConversionFailed", "no cause was named"),
    ("answer a code of commands", "ConversionFailed", "it failed"),
    ("sys.exit", "ConversionFailed", "0"),
    ("raise", "ConversionFailed", "the first line"),
    ("raise commands", "ConversionFailed", "a\\x1b[2J tensor"),
]


@pytest.mark.parametrize(("lie", "code", "words"), LIES, ids=[lie for lie, _, _ in LIES])
def test_a_lie_is_found_out(converter: Converter, tmp_path: Path, lie: str, code: str, words: str) -> None:
    with pytest.raises(ReconcilerError) as failure:
        attempt(converter, tmp_path, lie)
    assert failure.value.code == code
    assert isinstance(failure.value, ConversionFailed if code == "ConversionFailed" else ConverterLost)
    assert words in str(failure.value)
    assert len(str(failure.value).splitlines()) == 1
    assert "\x1b" not in str(failure.value)
    assert len(str(failure.value)) <= 300
    assert "log" in failure.value.hint
    assert not (tmp_path / "out").exists()


def test_the_log_of_a_failure_is_kept_and_the_scratch_folder_is_not(converter: Converter, tmp_path: Path) -> None:
    with pytest.raises(ConversionFailed) as failure:
        attempt(converter, tmp_path, "raise")
    assert "the second line" in Path(failure.value.hint.rpartition(" ")[2]).read_text()
    assert not [name for name in os.listdir(tmp_path / "scratch") if name.startswith("conversion-")]


def test_a_job_writes_in_its_own_folder_though_its_worker_remembers_another(
    converter: Converter, tmp_path: Path
) -> None:
    """LFM2: torch caches what it compiled, and a caged job may not write where the worker would."""
    assert attempt(converter, tmp_path, "remember a folder")


def test_a_worker_outlives_what_its_jobs_do(converter: Converter, tmp_path: Path) -> None:
    for lie in ("die", "exit", "raise"):
        with pytest.raises((ConversionFailed, ConverterLost)):
            attempt(converter, tmp_path, lie)
    attempt(converter, tmp_path, "succeed")
    assert len([name for name in os.listdir(tmp_path / "scratch") if name.startswith("converter-")]) == 1


def test_a_hanging_converter_is_ended_in_time_and_the_next_finds_a_worker(converter: Converter, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ConversionFailed) as failure:
        attempt(converter, tmp_path, "hang", timeout=0.5)
    assert time.monotonic() - began < PATIENCE  # it hangs for longer
    assert failure.value.code == "ConversionTimedOut"
    assert "within 0.5 s" in str(failure.value)
    attempt(converter, tmp_path, "succeed")


def test_a_converter_that_prints_much_fills_no_disk(converter: Converter, tmp_path: Path) -> None:
    log = attempt(converter, tmp_path, "print 50 MB")
    assert LOG_LIMIT <= os.path.getsize(log) < LOG_LIMIT + 100


def test_a_converter_that_prints_endlessly_is_ended_in_time(converter: Converter, tmp_path: Path) -> None:
    with pytest.raises(ConversionFailed, match="within 1 s"):
        attempt(converter, tmp_path, "print endlessly", timeout=1.0)


def test_a_dead_worker_fails_its_conversion_and_is_replaced(tmp_path: Path) -> None:
    """Out of a cage: in one a job cannot reach its worker (test_cage.py)."""
    with Converter(str(tmp_path / "scratch"), str(tmp_path / "logs"), module=LIAR, cage_mode="off") as converter:
        with pytest.raises(ConverterLost, match="SIGKILL"):
            attempt(converter, tmp_path, "kill the worker")
        attempt(converter, tmp_path, "succeed")


def test_a_full_disk_passes_by_itself(converter: Converter, tmp_path: Path) -> None:
    with pytest.raises(DiskFull):
        attempt(converter, tmp_path, "full disk")


def test_a_stuck_job_does_not_hold_up_another(converter: Converter, tmp_path: Path) -> None:
    one = Attempt()
    stuck = threading.Thread(target=cancelled, args=(converter, tmp_path, one))
    stuck.start()
    until(lambda: one.begun)
    converter.convert(recipe("succeed"), str(tmp_path), str(tmp_path / "other"), timeout=PATIENCE)
    assert stuck.is_alive()
    one.cancel()
    stuck.join()


def test_cancelling_from_another_thread_ends_all_at_once(converter: Converter, tmp_path: Path) -> None:
    threading.Timer(0.5, converter.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        attempt(converter, tmp_path, "hang", timeout=600)
    assert time.monotonic() - began < PATIENCE
    with pytest.raises(Cancelled):
        attempt(converter, tmp_path, "succeed")
    assert not (tmp_path / "out").exists()


def test_one_of_two_is_cancelled_and_the_other_goes_on(converter: Converter, tmp_path: Path) -> None:
    one, other = Attempt(), Attempt()
    threads = [threading.Thread(target=cancelled, args=(converter, tmp_path, attempt)) for attempt in (one, other)]
    for thread in threads:
        thread.start()
    until(lambda: one.begun and other.begun)
    one.cancel()
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()
    assert threads[1].is_alive()
    other.cancel()
    threads[1].join(PATIENCE)
    assert not threads[1].is_alive()
    attempt(converter, tmp_path, "succeed")
    assert not [name for name in os.listdir(tmp_path / "scratch") if name.startswith("conversion-")]


def cancelled(converter: Converter, tmp_path: Path, attempt: Attempt) -> None:
    with pytest.raises(Cancelled):
        converter.convert(recipe("hang"), str(tmp_path), str(tmp_path / "out"), timeout=600, attempt=attempt)


def test_nothing_is_left_running_when_it_is_closed(tmp_path: Path) -> None:
    converter = Converter(str(tmp_path / "scratch"), str(tmp_path / "logs"), module=LIAR)
    one = Attempt()
    stuck = threading.Thread(target=cancelled, args=(converter, tmp_path, one))
    stuck.start()
    until(lambda: one.begun)
    converter.cancel()
    stuck.join(PATIENCE)
    assert not stuck.is_alive()
    converter.close()
    assert os.listdir(tmp_path / "scratch") == []


def test_only_the_latest_logs_are_kept(converter: Converter, tmp_path: Path) -> None:
    for _ in range(KEPT_LOGS + 3):
        attempt(converter, tmp_path, "succeed")
        os.rename(tmp_path / "out", tmp_path / f"out{time.time_ns()}")
    assert len([name for name in os.listdir(tmp_path / "logs") if name.startswith("convert-")]) == KEPT_LOGS


@pytest.mark.parametrize("lie", ["miss a package", "load no package"])
def test_a_package_that_cannot_be_imported_is_a_missing_tool(converter: Converter, tmp_path: Path, lie: str) -> None:
    """By a job, or by its worker before the job. The versions were there, so nothing was wrong with those."""
    with pytest.raises(ConverterLost, match="No module named '") as failure:
        attempt(converter, tmp_path, lie)
    assert (failure.value.code, failure.value.hint) == ("ToolsMissing", install_command("convert"))


def test_a_package_that_only_this_model_asks_for_is_no_missing_tool(converter: Converter, tmp_path: Path) -> None:
    with pytest.raises(ConversionFailed, match="needs autoawq"):
        attempt(converter, tmp_path, "miss a package of the model's")


def test_a_missing_tool_is_named_with_what_to_do(tmp_path: Path) -> None:
    """The real worker, asked for a version that is not installed."""
    wanted = Recipe(
        source="",
        adapter=None,
        architecture="",
        precision="int4",
        options={},
        target=Target(),
        tools={"olive-ai": "0.0.1"},
    )
    with (
        Converter(str(tmp_path / "scratch"), str(tmp_path / "logs")) as converter,
        pytest.raises(ConverterLost) as failure,
    ):
        converter.convert(wanted, str(tmp_path), str(tmp_path / "out"), timeout=PATIENCE)
    assert failure.value.code == "ToolsMissing"
    assert "olive-ai is 0.13.0, expected 0.0.1" in str(failure.value)
    assert failure.value.hint == install_command("convert")


def test_a_folder_that_is_shown_before_it_exists_needs_no_other_worker(tmp_path: Path) -> None:
    """An apply on a new machine: its staging folder came after the worker, which imported Olive a second time."""
    later = tmp_path / "staging"
    with Converter(
        str(later / "scratch"), str(tmp_path / "logs"), module=LIAR, shown=(str(later),), cage_mode="off"
    ) as converter:
        (tmp_path / "source").mkdir()
        converter.start(sources=(str(tmp_path / "source"),))
        workers = {converter._worker(str(tmp_path / "source")).pid}
        (later / "candidate").mkdir()
        workers.add(converter._worker(str(later / "candidate")).pid)
    assert len(workers) == 1
