"""What a parse of a commit keeps of the files beside a template or a recording: a little, whatever lies there."""

import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.sources.git import manifests_in_commit
from reconciler.sources.git.manifests_in_commit import CHECKOUT, GitDisk
from reconciler.sources.git.objects import FILE, FOLDER, Entry, Tree


def test_what_was_read_ahead_is_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests_in_commit, "MOST_BYTES", 25)
    files = {f"{folder}/{name}": f"{folder}{name}".encode() * 5 for folder in "abcd" for name in "xy"}
    read: list[int] = []

    def entry(path: str) -> Entry:
        kind = FILE if path in files else FOLDER
        return Entry(name=path.rpartition("/")[2], kind=kind, object=path, size=len(files.get(path, b"")))

    def at_once(entries: list[Entry]) -> dict[str, bytes]:
        read.append(len(entries))
        return {one.object: files[one.object] for one in entries}

    def children(folder: Entry) -> list[Entry]:
        return [entry(path) for path in files if path.startswith(f"{folder.object}/")]

    tree: Any = SimpleNamespace(at=entry, children=children, read=at_once)
    disk = GitDisk(cast("Tree", tree), CHECKOUT, None)
    for path, data in [*files.items(), ("a/x", files["a/x"])]:
        assert disk.read(os.path.join(CHECKOUT, *path.split("/"))) == data
        assert sum(map(len, disk._bytes.values())) <= 2 * 25
    assert len(read) == 5  # each folder at once; and the first again, which was forgotten
