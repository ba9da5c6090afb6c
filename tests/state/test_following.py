"""The log of events, followed while it is written, torn, renamed and emptied."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest

from reconciler.state import events
from reconciler.state.events import Follower
from tests.posix import needs_posix


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def follower(log: Path) -> Follower:
    return Follower(str(log))


def append(log: Path, *numbers: int) -> None:
    for number in numbers:
        events.append(str(log), {"n": number})


def numbers(found: list[events.Event]) -> list[int]:
    return [event["n"] for event in found]


def rotate(log: Path) -> None:
    log.rename(log.with_name("events.1.jsonl"))


def test_first_what_is_there_then_what_is_new(log: Path, follower: Follower) -> None:
    append(log, 1, 2)
    assert numbers(follower.read()) == [1, 2]
    assert follower.read() == []
    append(log, 3)
    assert numbers(follower.read()) == [3]
    assert follower.read() == []


def test_a_log_that_does_not_exist_yet_is_waited_for(log: Path, follower: Follower) -> None:
    assert follower.read() == []
    assert follower.read() == []
    append(log, 1)
    assert numbers(follower.read()) == [1]


@needs_posix  # Windows renames no file that is open, and none over another
def test_what_was_written_before_and_after_a_rotation_is_told_once(log: Path, follower: Follower) -> None:
    append(log, 1)
    assert numbers(follower.read()) == [1]
    append(log, 2)
    rotate(log)
    assert numbers(follower.read()) == [2]
    append(log, 3)
    assert numbers(follower.read()) == [3]
    append(log, 4)
    rotate(log)
    append(log, 5)
    assert numbers(follower.read()) == [4, 5]


def test_the_older_file_comes_first(log: Path, follower: Follower) -> None:
    append(log, 1)
    rotate(log)
    append(log, 2)
    assert numbers(follower.read()) == [1, 2]


def test_a_file_that_is_renamed_while_it_is_opened_is_not_told_twice(log: Path) -> None:
    append(log, 1)
    os.link(log, log.with_name("events.1.jsonl"))
    follower = Follower(str(log))
    assert numbers(follower.read()) == [1]


def test_half_a_line_waits_for_its_end(log: Path, follower: Follower) -> None:
    append(log, 1)
    assert numbers(follower.read()) == [1]
    with open(log, "ab") as file:
        file.write(b'{"n":')
        file.flush()
        assert follower.read() == []
        file.write(b"2}\n")
    assert numbers(follower.read()) == [2]


def test_a_line_torn_by_a_crash_is_left_out(log: Path, follower: Follower) -> None:
    log.write_bytes(b'{"n":1}\n{"n":')
    assert numbers(follower.read()) == [1]
    append(log, 2)
    assert numbers(follower.read()) == [2]


def test_a_log_emptied_by_hand_is_read_from_its_beginning(log: Path, follower: Follower) -> None:
    append(log, 1, 2)
    assert numbers(follower.read()) == [1, 2]
    os.truncate(log, 0)
    assert follower.read() == []
    append(log, 3)
    assert numbers(follower.read()) == [3]


def test_thousands_of_events_through_real_rotations_are_all_told_in_order(
    log: Path, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FULL", 2000)  # bytes: a rotation every 180 events or so
    told = numbers(follower.read())
    for number in range(2000):
        append(log, number)
        if number % 50 == 0:
            told += numbers(follower.read())
    told += numbers(follower.read())
    assert told == list(range(2000))


@needs_posix  # Windows renames no file that is open, and none over another
def test_what_is_written_between_the_look_and_the_rename_is_not_lost(
    log: Path, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log grows and is renamed just after the follower opened it."""
    opened, raced = events._open, []

    def race(path: str, stack: ExitStack) -> BinaryIO | None:
        file = opened(path, stack)
        if not raced:
            raced.append(path)
            append(log, 2)
            rotate(log)
            append(log, 3)
        return file

    append(log, 1)
    monkeypatch.setattr(events, "_open", race)
    assert numbers(follower.read()) == [1, 2, 3]
    assert raced == [str(log)]
