"""The model that the states of a power cut come from: what it must allow, and what it must not. Recorded from real
files, each by a process that acts in a folder of its own."""

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import REPOSITORY
from tests.plug.disk import Disk, Tree

pytestmark = pytest.mark.skipif(os.name == "nt", reason="folders cannot be flushed there")

PLAYED = """
import os, pickle, sys
from tests.plug.recording import Recorder
os.chdir(sys.argv[1])
def flush(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
def write(path, data, how="wb"):
    with open(path, how) as file:
        file.write(data)
recorder = Recorder(os.getcwd(), ("root",))
recorder.start()
exec(sys.argv[2])
tape = recorder.stop()
sys.stdout.buffer.write(pickle.dumps(tape))
"""


def left(folder: Path, act: str) -> list[dict[str, bytes]]:
    """Every state that may be left after all of `act`: its files with their content."""
    (folder / "root" / "deep").mkdir(parents=True)
    (folder / "root" / "old").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", PLAYED, str(folder), act],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    disk = Disk(pickle.loads(done.stdout))
    while disk.played < len(disk.tape.events):
        disk.play()

    def files(tree: Tree) -> dict[str, bytes]:
        return {path: disk.tape.contents[held] for path, (kind, held, _) in tree.items() if kind == "file"}

    return [files(disk.tree(choice)) for choice in disk.choices(random.Random(0), 30)]


OLD, NEW = "root/old", "root/new"
CASES = {
    "a new file may be gone, empty, half there or zeros": (
        "write('root/new', b'abcd')",
        [{}, {NEW: b""}, {NEW: b"ab"}, {NEW: b"\0\0\0\0"}, {NEW: b"abcd"}],
    ),
    "a flush of the file does not keep its name": (
        "write('root/new', b'abcd'); flush('root/new')",
        [{}, {NEW: b"abcd"}],
    ),
    "a flush of the folder does not keep the content": (
        "write('root/new', b'abcd'); flush('root')",
        [{NEW: b""}, {NEW: b"ab"}, {NEW: b"\0\0\0\0"}, {NEW: b"abcd"}],
    ),
    "both flushes keep it": ("write('root/new', b'abcd'); flush('root/new'); flush('root')", [{NEW: b"abcd"}]),
    "what was appended may be torn, and what was there may not": (
        "write('root/old', b'+two', 'ab')",
        [{OLD: b"old"}, {OLD: b"old+t"}, {OLD: b"old\0\0\0\0"}, {OLD: b"old+two"}],
    ),
    "a rename in one folder is there or not": ("os.rename('root/old', 'root/new')", [{OLD: b"old"}, {NEW: b"old"}]),
    "a rename to another folder may keep both names, or neither": (
        "os.rename('root/old', 'root/deep/new')",
        [{OLD: b"old"}, {OLD: b"old", "root/deep/new": b"old"}, {}, {"root/deep/new": b"old"}],
    ),
    "a flush of one folder keeps nothing of the other": (
        "os.rename('root/old', 'root/deep/new'); flush('root/deep')",
        [{OLD: b"old", "root/deep/new": b"old"}, {"root/deep/new": b"old"}],
    ),
    "what was removed may come back": ("os.unlink('root/old')", [{OLD: b"old"}, {}]),
    "what a child process wrote is not flushed": (
        "import subprocess; subprocess.run(['sh', '-c', 'echo x >root/new; sync root/new root'], check=True)",
        [{}, {NEW: b""}, {NEW: b"x"}, {NEW: b"\0\0"}, {NEW: b"x\n"}],
    ),
    "a new name of the same bytes needs the folder alone": (
        "os.link('root/old', 'root/new'); flush('root')",
        [{OLD: b"old", NEW: b"old"}],
    ),
}


@pytest.mark.parametrize(("act", "expected"), CASES.values(), ids=CASES)
def test_what_may_be_left(tmp_path: Path, act: str, expected: list[dict[str, bytes]]) -> None:
    untouched = {} if any("old" in path for one in expected for path in one) or "old" in act else {OLD: b"old"}
    found = left(tmp_path, act)
    wanted = [{**untouched, **one} for one in expected]
    assert [one for one in wanted if one not in found] == []
    assert [one for one in found if one not in wanted] == []
