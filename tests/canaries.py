"""Secrets never leave: every test runs with canaries in the variables that carry secrets, and nobody may write one
down.

Looked at, once a session: every file below pytest's temporary folders (records, logs, stores, mirrors, bundles, what a
test kept of an output), what commands and tests printed (tracebacks too), and the arguments of every process: of those
that a test starts, by a hook of the interpreter; of all below them, as they are seen in /proc.

A canary is made by `secret` alone and carries MARK, so there is one word to look for, plain or as base64 (a header).
What it is worth: children inherit the canaries of the environment, so whoever logs, records or passes on what it was
given is found. Limits: files that a test deletes, files over LARGEST, a process that lives for some milliseconds below
another one (tests/host/test_arguments.py sees those), and a session that is ended by force.
"""

import base64
import contextlib
import json
import os
import stat
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

from tests.trust import RESULTS

MARK = "f00dca9a21e5b3d7"
LARGEST = 8 << 20  # bytes of one file; larger ones are weights, noise or sparse
MOST = 2 << 30  # bytes of a session
PAUSE = 0.5  # seconds between two looks at what runs


def secret(name: str) -> str:
    """At least as long as secrets are, and of letters that no reader refuses."""
    return f"canary-{name}-{MARK}"


ENVIRONMENT = {
    "HF_TOKEN": secret("hub"),
    "RECONCILER_GIT_TOKEN": secret("git"),
    "RECONCILER_SIGNING_PASSPHRASE": secret("passphrase"),
    "GITHUB_TOKEN": secret("github"),
    "AWS_SECRET_ACCESS_KEY": secret("cloud"),
}


def _forms(mark: bytes) -> tuple[bytes, ...]:
    """As it is, and the middle of what base64 makes of it at each of the three places where it may begin."""
    found = [mark]
    for at in range(3):
        whole = base64.b64encode(b"x" * at + mark + b"x" * (-(at + len(mark)) % 3))
        found.append(whole[-(-at * 8 // 6) : (at + len(mark)) * 8 // 6])
    return tuple(found)


FORMS = _forms(MARK.encode())

leaks: list[str] = []
_seen = {"files": 0, "processes": 0, "outputs": 0}
_given: set[str] = set()  # files that hold a secret by right


def file(path: Path, name: str, end: str = "\n", before: str = "") -> str:
    """Write a secret where a program is told to look for it. Returns the secret."""
    given(path, before + secret(name) + end)
    return secret(name)


def given(path: Path, text: str) -> None:
    """A text with a secret in it, as `file`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    _given.add(os.path.realpath(path))


def holds(data: bytes) -> bool:
    return any(form in data for form in FORMS)


def printed(text: str, where: str) -> None:
    """Something that a command or a test printed."""
    _seen["outputs"] += 1
    if holds(text.encode(errors="replace")):
        leaks.append(f"a canary was printed: {where}")


@contextlib.contextmanager
def watched_processes() -> Any:
    """All that this process starts from now on, and all below it that live long enough to be seen."""
    sys.addaudithook(_started)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(over,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _started(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        said = arguments[1] if isinstance(arguments[1], (list, tuple)) else [arguments[1]]
        _arguments([os.fsencode(one) for one in said if isinstance(one, (str, bytes, os.PathLike))])


def started(command: list[str]) -> None:
    """A process that another one than this made for a test."""
    _arguments([os.fsencode(one) for one in command])


def _arguments(command: list[bytes]) -> None:
    _seen["processes"] += 1
    if os.path.basename(command[0]).startswith(b"python") and command[1:2] == [b"-c"]:
        return  # a program that a test wrote
    if holds(b"\0".join(command)):
        said = " ".join(os.fsdecode(one) for one in command if not holds(one))
        leaks.append(f"a canary is an argument of: {said[:300]}")


def _watch(over: threading.Event) -> None:
    known: set[tuple[str, bytes]] = set()
    while not over.wait(PAUSE):
        left = _children(str(os.getpid()))
        while left:  # those that this process started itself are known by the hook
            for number in _children(left.pop()):
                left.append(number)
                command = _read(f"/proc/{number}/cmdline", LARGEST)
                if command and (number, command) not in known:
                    known.add((number, command))
                    _arguments(command.split(b"\0"))


def _children(number: str) -> list[str]:
    """Of all threads of a process; none where the system does not tell."""
    threads = _listed(f"/proc/{number}/task")
    return [one.decode() for each in threads for one in _read(f"/proc/{number}/task/{each}/children", LARGEST).split()]


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # no Linux
        return []


def look_into(top: Path) -> None:
    """Every plain file below, once, however many names it has."""
    left, inodes = MOST, set[int]()
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            size, inode = _plain(path)
            if size and inode not in inodes and size <= left:
                inodes.add(inode)
                left -= size
                _look_at(path, os.path.relpath(path, top))


def _plain(path: str) -> tuple[int, int]:
    """Nothing for what is no file, or too large; never opened, because it may be a pipe."""
    try:
        status = os.lstat(path)
    except OSError:
        return 0, 0
    return (status.st_size if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST else 0), status.st_ino


def _look_at(path: str, shown: str) -> None:
    data = _read(path, LARGEST)
    _seen["files"] += 1
    found = holds(data) or (data[:2] == b"\x1f\x8b" and holds(_unpacked(data)))
    if found and os.path.realpath(path) not in _given:
        leaks.append(f"a canary stands in {shown}")


def _read(path: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as opened:
            return opened.read(limit)
    except OSError:
        return b""


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(data, LARGEST)
    except zlib.error:
        return b""


def tell() -> None:
    """One line for each session; `make trust` adds them up."""
    if RESULTS:
        os.makedirs(RESULTS, exist_ok=True)
        with open(os.path.join(RESULTS, "canaries.jsonl"), "a", encoding="utf-8") as told:
            told.write(json.dumps({**_seen, "leaks": leaks}) + "\n")
