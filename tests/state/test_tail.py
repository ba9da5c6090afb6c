"""Places in the log of events: they survive a rename, a copy and a restart; nothing is read twice or lost."""

import shutil
from pathlib import Path

import pytest

from reconciler.state import events
from reconciler.state.events import LogPosition, lines_after, newest_place


def numbers(path: Path, place: LogPosition) -> tuple[list[int], LogPosition]:
    """All that follows, as a reader would take it."""
    found = []
    while lines := lines_after(str(path), place):
        found += [line.event["n"] for line in lines if line.event is not None]
        place = lines[-1].after
    return found, place


def test_reads_on_from_any_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FULL", 100)
    log, place, found = tmp_path / "events.jsonl", LogPosition(), []
    for n in range(40):
        events.append(str(log), {"n": n})
        if n % 3 == 0:
            more, place = numbers(log, place)
            found += more
    assert found + numbers(log, place)[0] == list(range(40))


def test_each_line_is_a_place(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    for n in range(5):
        events.append(str(log), {"n": n})
    lines = lines_after(str(log), LogPosition())
    assert [numbers(log, line.after)[0] for line in lines] == [[1, 2, 3, 4], [2, 3, 4], [3, 4], [4], []]
    assert len({line.digest for line in lines}) == 5


def test_the_newest_place_of_no_log_is_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    place = newest_place(str(log))
    events.append(str(log), {"n": 1})
    assert numbers(log, place)[0] == [1]
    assert numbers(log, newest_place(str(log)))[0] == []


def test_a_copy_of_the_log_has_the_same_places(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    events.append(str(log), {"n": 1})
    place = newest_place(str(log))
    events.append(str(log), {"n": 2})
    (tmp_path / "restored").mkdir()
    shutil.copy(log, tmp_path / "restored" / "events.jsonl")
    assert numbers(tmp_path / "restored" / "events.jsonl", place)[0] == [2]


def test_a_lost_place_begins_with_the_oldest_line(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    events.append(str(log), {"n": 1})
    assert numbers(log, LogPosition(log="sha256:gone", offset=7))[0] == [1]


def test_torn_and_endless_lines_stop_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "CHUNK", 64)
    log = tmp_path / "events.jsonl"
    log.write_bytes(b'{"n":0}\n{"n":1')
    found, place = numbers(log, LogPosition())
    assert found == [0]
    events.append(str(log), {"n": 2})
    assert numbers(log, place)[0] == [2]
    with open(log, "ab") as file:
        file.write(b"x" * 1000 + b"\n")
    events.append(str(log), {"n": 3})
    assert numbers(log, place)[0] == [2, 3]
