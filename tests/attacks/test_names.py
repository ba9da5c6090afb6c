"""Names that somebody else chose: files in our folders, entries of Foundry's catalog, manifests. Whatever they are,
what we print stays lines of ours, and no verb ends in a traceback."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.at_rest import edit_catalog, entry, serve
from tests.machine import TestMachine
from tests.trust import record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such names there")

NAMES = {
    "a command of a workflow": b"x\n::stop-commands::y",
    "another one": b"x\r\n##vso[task.setvariable variable=a]b",
    "escapes": b"x\x1b]0;owned\x07\x1b[2J",
    "from right to left": "x\u202egnp.exe\u2066".encode(),
    "no UTF-8": b"x\xff\xfe\x80",
    "a line of another world": "x\u2028y\u0085z".encode(),
    "markdown": b"![x](http:evil) @everyone <!-- `` | --> $(id)",
    "an option": b"--help",
    "the longest": b"n" * 255,
}
VERBS = {
    "status": ("text", "json"),
    "verify": ("text", "json"),
    "plan": ("text", "json", "github"),
    "drift": ("text", "json"),
    "events": ("text", "json"),
    "validate": ("text", "json", "github"),
    "doctor": ("text", "json"),
}


def place(folder: Path, name: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = os.path.join(os.fsencode(folder), name)
    with open(path, "wb") as file:
        file.write(b"x")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path_factory.mktemp("names"))
    one.give_model(capitals)
    one.declare()
    serve(one)
    folders = [
        *(one.root / name for name in ("served", "served/capitals-int4", "quarantine", "trash", "logs", "records")),
        *(one.root / name for name in ("records/variants", "oci/blobs/sha256", "staging", "sources/hub")),
        one.served("capitals-int4"),
        one.folder / "fleet" / "model",
    ]
    for name in NAMES.values():
        for folder in folders:
            place(folder, name)
        place(one.manifests, name[:200] + b".yaml")
        os.makedirs(os.path.join(os.fsencode(one.root), b"served", name[:200] + b".d", b"1"), exist_ok=True)
    strange = [f"{name.decode('utf-8', 'replace')}:1" for name in NAMES.values()]
    edit_catalog(one, lambda entries: {**entries, **{name: entry(name, f"/{name}", {}) for name in strange}})
    return one


@pytest.mark.parametrize(("verb", "output"), [(verb, form) for verb, forms in VERBS.items() for form in forms])
def test_what_is_printed_stays_ours(machine: TestMachine, verb: str, output: str) -> None:
    done = machine.run(verb, "--output", output)  # which fails where it is no UTF-8
    text = done.out + done.err
    assert done.code in (0, 1, 2, 3, 4, 6), text
    assert "Traceback" not in text
    assert "Bug" not in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", text)
    commands = [line for line in text.splitlines() if line.lstrip().startswith(("::", "##vso", "##["))]
    assert all(re.match(r"::(error|warning|notice)( |::)", line) and output == "github" for line in commands)
    record("attacks", f"{len(NAMES)} of {len(NAMES)} names told as they are", part=f"names-{verb}-{output}")
