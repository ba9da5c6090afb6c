"""The real Foundry Local behind our client: what we do shows in its catalog, and nothing else changes there."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from reconciler.backends.foundry.foundry import BACKUP, DEFAULT_LIMITS, Foundry, TimeLimits
from reconciler.backends.foundry.index import INDEX, LOCK, read_index
from reconciler.domain.errors import CatalogBroken, PermanentError, RuntimeUnavailable
from tests import forked, forked_child
from tests.ci.light import light_packages
from tests.converted_model import converted_model
from tests.waiting import children_of, command_line

OURS = {"reconciler_owner": "me", "reconciler_release": "sha256:0", "display_name": "Tiny"}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted_model(tmp_path_factory)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def foundry(cache: Path, tmp_path: Path) -> Iterator[Foundry]:
    with runtime(cache, tmp_path) as one:
        yield one


def runtime(cache: Path, tmp_path: Path, limits: TimeLimits = DEFAULT_LIMITS) -> Foundry:
    return Foundry(str(cache), scratch=str(tmp_path / "scratch"), log=str(tmp_path / "log"), limits=limits)


def test_the_sdk_lists_what_the_index_says_after_each_change(foundry: Foundry, cache: Path, model: Path) -> None:
    def both_agree() -> list[str]:
        read = {one.id: one for one in read_index(str(cache))}
        listed = {one.id: one for one in foundry.list([*OURS, "extra"])}
        assert listed.keys() == read.keys()
        for identity, one in listed.items():
            assert one.path == read[identity].path
            assert one.properties.items() <= read[identity].properties.items()
        return sorted(listed)

    assert both_agree() == []
    foundry.register(str(model), "tiny-int4:1", OURS)
    foundry.register(str(model), "tiny-int4:10", {**OURS, "extra": 'ä\n"quoted"'})
    foundry.register(str(model), "other-generic-cpu:2", {})
    assert both_agree() == ["other-generic-cpu:2", "tiny-int4:1", "tiny-int4:10"]
    foundry.unregister("tiny-int4:1")
    assert both_agree() == ["other-generic-cpu:2", "tiny-int4:10"]
    assert all((one.owner == "me") == one.name.startswith("tiny") for one in read_index(str(cache)))


def test_an_id_is_never_given_to_other_content(foundry: Foundry, cache: Path, model: Path) -> None:
    foundry.register(str(model), "tiny:1", OURS)
    with pytest.raises(PermanentError) as caught:
        foundry.register(str(model), "tiny:1", {})
    assert caught.value.code == "AlreadyRegistered"
    assert read_index(str(cache))[0].properties["reconciler_owner"] == "me"


def test_unregistering_what_is_gone_is_fine(foundry: Foundry, model: Path) -> None:
    foundry.unregister("tiny:1")
    foundry.register(str(model), "tiny:1", OURS)
    foundry.unregister("tiny:1")
    foundry.unregister("tiny:1")


def test_a_loaded_model_can_be_unregistered(foundry: Foundry, cache: Path, model: Path) -> None:
    foundry.register(str(model), "tiny:1", OURS)
    foundry.ask("tiny:1", [("user", "Hi")], 2)
    foundry.unregister("tiny:1")
    assert read_index(str(cache)) == ()


def test_other_registrations_keep_every_field(foundry: Foundry, cache: Path, model: Path) -> None:
    with runtime(cache, cache.parent / "other") as other:
        (cache.parent / "other").mkdir()
        other.register(str(model), "foreign:7", {"publisher": "someone", "capabilities": "chat", "x": "y"})
    before = json.loads((cache / INDEX).read_text())["models"]
    foundry.register(str(model), "tiny:1", OURS)
    foundry.unregister("tiny:1")
    assert json.loads((cache / INDEX).read_text())["models"] == before


def test_an_answer_streams_and_is_measured(foundry: Foundry, model: Path) -> None:
    foundry.register(str(model), "tiny:1", OURS)
    pieces: list[str] = []
    first = foundry.ask("tiny:1", [("user", "Hi")], 16, temperature=0.0, on_text=pieces.append)
    assert "".join(pieces) == first.text
    assert len(pieces) > 1
    assert first.prompt_tokens > 10
    assert 1 <= first.completion_tokens <= 16
    assert first.load_seconds > 0
    assert 0 < first.first_token_seconds < 60
    assert first.tokens_per_second > 0
    assert first.finish_reason in {"stop", "length"}
    again = foundry.ask("tiny:1", [("user", "Hi")], 16, temperature=0.0)
    assert (again.text, again.load_seconds) == (first.text, 0.0)
    memory, versions = foundry.measure()
    assert memory > 10 << 20
    assert versions.keys() == {"foundry-local-sdk", "onnxruntime", "onnxruntime-genai-core"}


def test_an_answer_is_cut_to_what_the_context_holds(foundry: Foundry, model: Path, tmp_path: Path) -> None:
    small = with_edited_config(model, tmp_path / "small", context_length=40)
    foundry.register(str(small), "tiny:1", OURS)
    answer = foundry.ask("tiny:1", [("user", "Hi")], 2048, temperature=0.0)
    assert answer.prompt_tokens + answer.completion_tokens <= 40


def test_a_question_longer_than_the_context_says_so(foundry: Foundry, model: Path) -> None:
    foundry.register(str(model), "tiny:1", OURS)
    with pytest.raises(PermanentError, match="maximum context length of 4096 tokens") as caught:
        foundry.ask("tiny:1", [("user", "x" * 5000)], 16)
    assert caught.value.code == "PromptTooLong"


def test_an_unknown_model_cannot_be_asked(foundry: Foundry) -> None:
    with pytest.raises(PermanentError) as caught:
        foundry.ask("nobody:1", [("user", "Hi")], 2)
    assert caught.value.code == "NotRegistered"


REFUSED = {
    "a folder that is not there": ("missing", "tiny:1", "ServedFolderMissing"),
    "a folder without a configuration": ("empty", "tiny:1", "ServedFolderMissing"),
    "a configuration that is none": ("junk", "tiny:1", "GenaiConfigRefused"),
    "an id without a number": ("junk", "tiny", "RuntimeRefused"),
}


@pytest.mark.parametrize(("folder", "identity", "code"), REFUSED.values(), ids=REFUSED)
def test_a_bad_registration_is_refused_with_a_reason(
    foundry: Foundry, cache: Path, tmp_path: Path, folder: str, identity: str, code: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "genai_config.json").write_text("{")
    with pytest.raises(PermanentError) as caught:
        foundry.register(str(tmp_path / folder), identity, OURS)
    assert caught.value.code == code
    assert ".cc:" not in str(caught.value)
    assert read_index(str(cache)) == ()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 3, "models": []}', '{"version": 2, "models": [1]}'])
def test_a_broken_index_is_left_as_it_is(foundry: Foundry, cache: Path, model: Path, text: str) -> None:
    cache.mkdir()
    (cache / INDEX).write_text(text)
    with pytest.raises(CatalogBroken):
        foundry.register(str(model), "tiny:1", OURS)
    with pytest.raises(CatalogBroken):
        foundry.unregister("tiny:1")
    with pytest.raises(CatalogBroken):  # in the words of the SDK
        foundry.list()
    assert (cache / INDEX).read_text() == text


def test_the_index_as_it_was_is_kept_before_the_first_change(cache: Path, tmp_path: Path, model: Path) -> None:
    with runtime(cache, tmp_path) as first:
        first.register(str(model), "tiny:1", OURS)
    before = (cache / INDEX).read_bytes()
    with runtime(cache, tmp_path) as second:
        second.unregister("tiny:1")
        second.register(str(model), "tiny:2", OURS)
    assert (tmp_path / "scratch" / BACKUP).read_bytes() == before


def test_a_lock_held_for_a_moment_is_waited_for(foundry: Foundry, cache: Path, model: Path) -> None:
    foundry.list()
    with open(cache / LOCK, "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        Timer(1.0, lambda: fcntl.flock(lock, fcntl.LOCK_UN)).start()
        foundry.register(str(model), "tiny:1", OURS)
        assert time.monotonic() - began > 0.9


def test_a_lock_that_is_never_released_is_given_up_and_later_tried_again(
    cache: Path, tmp_path: Path, model: Path
) -> None:
    with runtime(cache, tmp_path) as foundry:
        foundry.list()
        foundry.limits = TimeLimits(catalog=3.0)  # from here on: to start may take longer
        with open(cache / LOCK, "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(
                RuntimeUnavailable, match=f"for more than 3 s by pid {os.getpid()} |within 3 s"
            ) as caught:
                foundry.register(str(model), "tiny:1", OURS)
            assert caught.value.code == "CatalogLocked"
            assert str(cache) in caught.value.hint
        foundry.limits = DEFAULT_LIMITS
        foundry.register(str(model), "tiny:1", OURS)


def test_a_child_that_was_killed_is_replaced(foundry: Foundry, cache: Path, model: Path) -> None:
    foundry.register(str(model), "tiny:1", OURS)
    foundry.kill()
    with pytest.raises(RuntimeUnavailable) as caught:
        foundry.list()
    assert caught.value.code == "RuntimeDied"
    assert foundry.list() != ()


def test_a_runtime_that_takes_too_long_is_killed(cache: Path, tmp_path: Path, model: Path) -> None:
    with runtime(cache, tmp_path, TimeLimits(load=2.0)) as foundry:
        foundry.register(str(model), "tiny:1", OURS)
        stop_children(signal.SIGSTOP)
        with pytest.raises(PermanentError, match="no end of load within 2 s") as caught:
            foundry.ask("tiny:1", [("user", "Hi")], 2)
        assert caught.value.code == "RuntimeHung"
        foundry.limits = DEFAULT_LIMITS
        assert foundry.ask("tiny:1", [("user", "Hi")], 2).load_seconds > 0


def stop_children(number: int) -> None:
    for pid in runtimes():
        os.kill(pid, number)


def runtimes() -> list[int]:
    started = [pid for pid in children_of(os.getpid()) if "backends.foundry.worker" in command_line(pid)]
    return [*started, *forked.Worker.running(forked_child.FOUNDRY)]


def test_a_missing_library_is_named_with_the_way_to_install_it(tmp_path: Path) -> None:
    bare = (
        "import sys; sys.path[:0] = [sys.argv[1]]; sys.executable = sys.argv[2]\n"
        "from reconciler.backends.foundry.foundry import Foundry\n"
        "from reconciler.domain.errors import RuntimeUnavailable\n"
        "try: Foundry(sys.argv[3], scratch=sys.argv[3], log=sys.argv[3] + '/log').list()\n"
        "except RuntimeUnavailable as error: print(error.code, error.hint)\n"
    )
    light = tmp_path / "light"
    light_packages(light)
    (light / "reconciler").symlink_to(Path(__file__).parents[2] / "reconciler")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    python = os.path.realpath(sys.executable)  # the interpreter itself, outside the virtual environment
    said = subprocess.run(
        [sys.executable, "-c", bare, light, python, scratch], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("RuntimeMissing pip install"), said


@pytest.mark.parametrize(("folder", "lock"), [(0o700, 0o600), (0o750, 0o660), (0o755, 0o666), (0o711, 0o600)])
def test_whoever_may_read_the_catalog_may_lock_it(foundry: Foundry, cache: Path, folder: int, lock: int) -> None:
    cache.mkdir()
    cache.chmod(folder)
    foundry.list()
    assert (cache / LOCK).stat().st_mode & 0o777 == lock


def test_no_trace_of_telemetry_and_nothing_outside_the_scratch_folder(
    foundry: Foundry, cache: Path, tmp_path: Path, model: Path
) -> None:
    foundry.register(str(model), "tiny:1", OURS)
    foundry.ask("tiny:1", [("user", "Hi")], 2)
    assert {path.name for path in cache.iterdir()} == {INDEX, LOCK}
    assert not [path for path in (tmp_path / "scratch").rglob("*") if path.suffix == ".db"]


def with_edited_config(model: Path, folder: Path, **changes: object) -> Path:
    folder.mkdir()
    for path in model.iterdir():
        os.link(path, folder / path.name)
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"].update(changes)
    (folder / "genai_config.json").unlink()
    (folder / "genai_config.json").write_text(json.dumps(config))
    return folder
