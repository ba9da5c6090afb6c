"""`reconciler lock`: pin the files that manifests take from remote sources, in a lock file beside them.

It needs no machine: it runs where manifests are written, and the lock file is committed with them.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.manifests import load_folder
from reconciler.cli.output import json_text, note, say, show_problems
from reconciler.domain.errors import UsageError
from reconciler.domain.sources.locked import HUGGINGFACE, LOCK_NAME, LockedSource
from reconciler.domain.text.units import size_text
from reconciler.host.durable import write_file
from reconciler.host.reading import read_whole
from reconciler.manifests.lock_file import Entries, LockInvalid
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.source_schema import is_repo
from reconciler.operations.lock import Locked, lock, outdated, read_lock
from reconciler.sources.protocol import RemoteSource
from reconciler.sources.select import REMOTES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser)
    options.add_token_files(parser)
    options.add_output(parser, "text", "json")
    options.add_flag(
        parser, "--check", "write nothing, use no network; exit 1 when the lock file is not what the manifests need"
    )
    options.add_flag(parser, "--dry-run", "ask the sources, but write nothing")
    parser.add_argument(
        "--commit-of", metavar="ORG/NAME[@BRANCH]", help="print the commit that a branch is at, and nothing else"
    )
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.commit_of:
        return _print_commit(arguments)
    parsed = _load(arguments)
    if parsed.problems:
        show_problems(parsed.problems)
        return ERROR
    old, broken = _read(arguments.path)
    if arguments.check:
        return _check(parsed, old, broken, arguments)
    with contextlib.ExitStack() as stack:
        kinds = {model.remote.kind for model in parsed.models if model.remote is not None}
        remotes = {kind: stack.enter_context(_remote(kind, arguments)) for kind in sorted(kinds)}
        locked = lock(parsed.models, old, remotes, lambda line: note(arguments, line))
    path = os.path.join(arguments.path, LOCK_NAME)
    written = not arguments.dry_run and _write(path, locked)
    _show(locked, parsed, path, written, arguments)
    return OK


def _load(arguments: argparse.Namespace) -> Parsed:
    """The manifests. An invalid lock file is no problem here, because it is written anew."""
    parsed = load_folder(arguments)
    return replace(parsed, problems=tuple(p for p in parsed.problems if p.code != "LockInvalid"))


def _read(folder: str) -> tuple[Entries, bool]:
    try:
        return read_lock(folder), False
    except LockInvalid:
        return {}, True


def _check(parsed: Parsed, old: Entries, broken: bool, arguments: argparse.Namespace) -> int:
    missing, stale = outdated(parsed.models, old)
    lines = [f"{LOCK_NAME} is not what `reconciler lock` writes"] if broken else []
    lines += [f"{source} is declared and not locked" for source in missing]
    lines += [f"{source} is locked and not declared" for source in stale]
    say(arguments, *(lines or [f"{LOCK_NAME} is what the manifests need"]))
    return ERROR if lines else OK


def _write(path: str, locked: Locked) -> bool:
    """Writes only a change, and no empty file where nothing is taken from elsewhere."""
    try:
        before = read_whole(path)
    except FileNotFoundError:
        before = b""
    if before == locked.data or not (before or locked.entries):
        return False
    write_file(path, locked.data)
    return True


def _show(locked: Locked, parsed: Parsed, path: str, written: bool, arguments: argparse.Namespace) -> None:
    if arguments.output == "json":
        sys.stdout.write(json_text(_view(locked, parsed, path, written)))
        return
    lines = [f"+ {source}: {len(source.files)} files, {size_text(source.size)}" for source in locked.added]
    lines += [f"- {source}" for source in locked.dropped]
    lines += [f"{name}: upstream is at {source.upstream}" for name, source in _moved(locked, parsed)]
    say(arguments, *lines, f"{path}: {'written' if written else 'unchanged'}")


def _view(locked: Locked, parsed: Parsed, path: str, written: bool) -> dict[str, Any]:
    return {
        "formatVersion": 1,
        "file": path,
        "written": written,
        "added": [_named(source) for source in locked.added],
        "dropped": [_named(source) for source in locked.dropped],
        "moved": [
            {"model": name, **_named(source), "upstream": source.upstream} for name, source in _moved(locked, parsed)
        ],
    }


def _named(source: LockedSource) -> dict[str, Any]:
    return {"repo": source.repo, "revision": source.revision, "sizeBytes": source.size}


def _moved(locked: Locked, parsed: Parsed) -> Iterator[tuple[str, LockedSource]]:
    """Models whose repository has newer commits than the one that they name."""
    for model in parsed.models:
        source = locked.entries.get(model.remote.key) if model.remote is not None else None
        if source is not None and source.upstream != source.revision:
            yield model.name, source


def _print_commit(arguments: argparse.Namespace) -> int:
    repo, _, branch = arguments.commit_of.partition("@")
    if not is_repo(repo) or not branch.isprintable() or branch.startswith("-"):
        raise UsageError("--commit-of: expected org/name or org/name@branch")
    with _remote(HUGGINGFACE, arguments) as hub:
        sys.stdout.write(f"{hub.commit(LockedSource(repo=repo, revision=''), branch)}\n")
    return OK


def _remote(kind: str, arguments: argparse.Namespace) -> RemoteSource:
    home = tempfile.mkdtemp(prefix="reconciler-lock-")
    token_file = options.token_files(arguments).get(kind, "")
    return REMOTES[kind].open(token_file, home, os.path.join(home, "fetch.log"))
