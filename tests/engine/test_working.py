"""What who only looks believes of who says that it works here."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.engine.job import NOTE, who_works
from reconciler.engine.machine import Machine, locked_machine
from reconciler.reports.status import working_lines
from tests.machine import TestMachine

ONE = {"action": "fetch", "variant": "a-int4", "since": "T1", "fraction": 0.4, "text": ""}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Machine]:
    machine = TestMachine(folder=tmp_path)
    with locked_machine(str(machine.root), str(machine.cache), command="test") as one:
        yield one


@pytest.mark.parametrize("note", [b"", b"7", b"{}", b'{"action": "convert"', b'{"fraction": "much"}'])
def test_a_note_that_nobody_can_read_is_none(note: bytes, opened: Machine) -> None:
    folder = Path(opened.layout.work, "1")
    folder.mkdir(parents=True)
    (folder / NOTE).write_bytes(note)
    held = who_works(opened.layout)
    assert held is not None
    assert held["jobs"] == []


@pytest.mark.parametrize("said", [b"", b"7", b'{"pid": 0}', b'{"pid": "x", "host": "", "command": "", "since": ""}'])
def test_a_holder_that_nobody_can_read_works_not(said: bytes, opened: Machine) -> None:
    Path(opened.layout.lock + ".holder").write_bytes(said)
    assert who_works(opened.layout) is None


def test_a_holder_that_was_killed_works_no_more(opened: Machine) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    facts = {"pid": gone.pid, "host": "here", "command": "apply", "since": "2026-01-01T00:00:00Z"}
    Path(opened.layout.lock + ".holder").write_text(json.dumps(facts))
    assert who_works(opened.layout) is None


@pytest.mark.parametrize(
    ("command", "jobs", "lines"),
    [
        ("run", [], ["kept by `reconciler run` (pid 7) since T0"]),
        ("apply", [], ["worked on by `reconciler apply` (pid 7) since T0"]),
        (
            "apply",
            [ONE, ONE | {"action": "measure", "text": "128 tokens", "fraction": 1.0}],
            [
                "a-int4: downloading (pid 7, 40 %, since T1)",
                "a-int4: measuring (pid 7, 100 %, 128 tokens, since T1)",
                "worked on by `reconciler apply` (pid 7) since T0",
            ],
        ),
    ],
)
def test_who_works_is_told_in_words(command: str, jobs: list[object], lines: list[str]) -> None:
    working = {"pid": 7, "host": "here", "command": command, "since": "T0", "jobs": jobs}
    assert list(working_lines(working)) == lines
    assert not list(working_lines(None))
