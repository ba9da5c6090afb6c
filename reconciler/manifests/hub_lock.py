"""`reconciler.lock.json`: the size and sha256 of every file that manifests take from the hub.

It lies beside the manifests and is reviewed and signed with them, so it is read as they are: as text that anybody may
have written. One form only, which `render` writes; sorted, a file a line, so that a merge touches what changed.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from reconciler.domain.sources.hub import LOCK_BYTES, SAFE_ENDINGS, HubSource, LockedFile, is_safe
from reconciler.domain.text.quoting import shown

FORMAT_VERSION = 1
MAX_FILES = 1_000  # of one source
LARGEST_FILE = 1 << 44  # bytes

REPO = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?/[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
REVISION = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
PATTERN = re.compile(r"[A-Za-z0-9._*?+=@-]{1,128}")


class LockInvalid(ValueError):
    """One line; `line` is 0 when the whole file is meant."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


Entries = dict[tuple[str, str, tuple[str, ...]], HubSource]


def is_repo(text: str) -> bool:
    return REPO.fullmatch(text) is not None and "--" not in text and ".." not in text


def is_pattern(text: str) -> bool:
    """Ends as a file may end: a pattern such as `*` would ask for pickles."""
    return PATTERN.fullmatch(text) is not None and text.endswith(SAFE_ENDINGS)


def render(entries: Iterable[HubSource]) -> bytes:
    sources = [_entry(source) for source in sorted(entries, key=lambda one: one.key)]
    text = json.dumps({"formatVersion": FORMAT_VERSION, "sources": sources}, indent=1)
    # Each file on one line: that is what a reviewer compares.
    text = re.sub(r"\{\s+(\"path\": .*),\s+(\"size\": .*),\s+(\"sha256\": .*)\s+\}", r"{\1, \2, \3}", text)
    return text.encode() + b"\n"


def _entry(source: HubSource) -> dict[str, object]:
    return {
        "repo": source.repo,
        "revision": source.revision,
        **({"include": list(source.include)} if source.include else {}),
        **({"upstream": source.upstream} if source.upstream else {}),
        "files": [
            {"path": file.path, "size": file.size, "sha256": file.sha256}
            for file in sorted(source.files, key=lambda one: one.path)
        ],
    }


def read(data: bytes) -> Entries:
    """Raises LockInvalid."""
    if len(data) > LOCK_BYTES:
        raise LockInvalid(f"expected at most {LOCK_BYTES >> 20} MiB, got {len(data):,} bytes")
    try:
        document = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise LockInvalid(f"expected JSON: {error.msg.lower()}", error.lineno) from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, LockInvalid) else "expected JSON, got something else"
        raise LockInvalid(said) from None
    _require(
        isinstance(document, dict) and document.keys() == {"formatVersion", "sources"}, "formatVersion and sources"
    )
    _require(document["formatVersion"] == FORMAT_VERSION, f"formatVersion {FORMAT_VERSION}")
    _require(isinstance(document["sources"], list), "a list of sources")
    entries: Entries = {}
    for item in document["sources"]:
        source = _source(item)
        if source.key in entries:  # guard: a source is locked once
            raise LockInvalid(f"expected each source once, got {source} again")
        entries[source.key] = source
    return entries


def _source(item: Any) -> HubSource:
    known = {"repo", "revision", "include", "upstream", "files"}
    _require(
        isinstance(item, dict) and {"repo", "revision", "files"} <= item.keys() <= known, "sources of the known fields"
    )
    _require(isinstance(item["repo"], str) and is_repo(item["repo"]), "a repo such as org/name")
    _require(_matches(REVISION, item["revision"]), "a revision of 40 hex digits")
    _require("upstream" not in item or _matches(REVISION, item["upstream"]), "an upstream of 40 hex digits")
    include, files = item.get("include", []), item["files"]
    _require(isinstance(include, list) and all(isinstance(p, str) and is_pattern(p) for p in include), "patterns")
    _require(isinstance(files, list) and 0 < len(files) <= MAX_FILES, f"1 to {MAX_FILES:,} files of a source")
    locked = tuple(_file(file) for file in files)
    if len({file.path.casefold() for file in locked}) < len(locked):
        raise LockInvalid(f"expected each file of {shown(item['repo'])} once")
    return HubSource(
        repo=item["repo"],
        revision=item["revision"],
        include=tuple(include),
        files=locked,
        upstream=item.get("upstream", ""),
    )


def _file(item: Any) -> LockedFile:
    _require(isinstance(item, dict) and item.keys() == {"path", "size", "sha256"}, "files of path, size and sha256")
    path, size, sha256 = item["path"], item["size"], item["sha256"]
    if (
        not isinstance(path, str) or not is_safe(path)  # guard: what is printed of the hub's listing is safe to name
    ):  # guard: a locked file has a safe name
        raise LockInvalid(f"expected the name of a safe file, got {shown(str(path))}")
    _require(type(size) is int and 0 <= size <= LARGEST_FILE, "a size in bytes")
    _require(_matches(SHA256, sha256), "a sha256 of 64 hex digits")
    return LockedFile(path=path, size=size, sha256=sha256)


def _matches(pattern: re.Pattern[str], held: object) -> bool:
    return isinstance(held, str) and pattern.fullmatch(held) is not None


def _require(good: bool, expected: str) -> None:
    if not good:
        raise LockInvalid(f"expected {expected}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise LockInvalid("expected each field once")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise LockInvalid(f"expected a number, got {name}")
