"""Pin the files that manifests take from remote sources, in a lock file beside them. It needs no reconciler root: run
it where manifests are written, and commit the lock file with them.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from typing import Any

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.manifests import load_folder
from reconciler.cli.output import json_text, note, say, show_problems
from reconciler.domain.errors import UsageError
from reconciler.domain.sources.locked import CARDS_NAME, CATALOG, FACTS_NAME, HUGGINGFACE, LOCK_NAME, OCI, LockedSource
from reconciler.domain.text.units import size_text
from reconciler.engine.remote_sources.kinds import REMOTES, RemoteAccess
from reconciler.host.durable import write_file
from reconciler.host.reading import read_whole
from reconciler.manifests.lock_file import Entries
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.source_facts import LockInvalid
from reconciler.manifests.source_schema import is_oci_repository, is_repo
from reconciler.operations.lock import Locked, lock, outdated, read_cards, read_facts, read_lock
from reconciler.reports.view import FORMAT_VERSION
from reconciler.sources.protocol import RemoteSource


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser)
    options.add_token_files(parser)
    options.add_output(parser, "text", "json")
    options.add_flag(
        parser, "--check", "write nothing, use no network; exit 1 when the lock file is not what the manifests need"
    )
    options.add_flag(parser, "--dry-run", "ask the sources, but write nothing")
    parser.add_argument(
        "--commit-of",
        metavar="ORG/NAME[@BRANCH]",
        help="print the commit that a branch is at, of catalog/NAME the newest version, or of oci/HOST/REPOSITORY:TAG "
        "the digest, and nothing else",
    )
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.commit_of:
        return _print_commit(arguments)
    parsed = load_folder(arguments)
    # An invalid lock file is no problem here, because it is written anew.
    if problems := [problem for problem in parsed.problems if problem.code != "LockInvalid"]:
        show_problems(problems)
        return ERROR
    try:
        old, broken = read_lock(arguments.path), False
    except LockInvalid:
        old, broken = {}, True
    if arguments.check:
        return _check(parsed, old, broken, arguments)
    with contextlib.ExitStack() as stack:
        kinds = {one.kind for model in parsed.models for one in model.remotes}
        remotes = {kind: stack.enter_context(_remote(kind, arguments)) for kind in sorted(kinds)}
        facts, cards = read_facts(arguments.path), read_cards(arguments.path)
        locked = lock(parsed.models, old, remotes, lambda line: note(arguments, line), facts=facts, cards=cards)
    path = os.path.join(arguments.path, LOCK_NAME)
    written = False
    if not arguments.dry_run:
        written = _write(path, locked.data, locked)
        written |= _write(os.path.join(arguments.path, FACTS_NAME), locked.facts, locked)
        written |= _write(os.path.join(arguments.path, CARDS_NAME), locked.cards, locked)
    _show(locked, parsed, path, written, arguments)
    return OK


def _check(parsed: Parsed, old: Entries, broken: bool, arguments: argparse.Namespace) -> int:
    missing, stale = outdated(parsed.models, old)
    lines = [f"{LOCK_NAME} is not what `reconciler lock` writes"] if broken else []
    lines += [f"{source} is declared and not locked" for source in missing]
    lines += [f"{source} is locked and not declared" for source in stale]
    say(arguments, *(lines or [f"{LOCK_NAME} is what the manifests need"]))
    return ERROR if lines else OK


def _write(path: str, data: bytes, locked: Locked) -> bool:
    """Writes only a change, and no empty file where nothing is taken from elsewhere."""
    before = b""
    with contextlib.suppress(FileNotFoundError):
        before = read_whole(path)
    if before == data or not (before or locked.entries):
        return False
    write_file(path, data)
    return True


def _show(locked: Locked, parsed: Parsed, path: str, written: bool, arguments: argparse.Namespace) -> None:
    # Models whose repository has newer commits than the one that they name.
    sources = {one.name: locked.entries.get(one.remote.key) for one in parsed.models if one.remote is not None}
    moved = {name: one for name, one in sources.items() if one is not None and one.upstream != one.revision}
    if arguments.output == "text":
        lines = [f"+ {source}: {len(source.files)} files, {size_text(source.size)}" for source in locked.added]
        lines += [f"- {source}" for source in locked.dropped]
        lines += [f"{name}: upstream is at {source.upstream}" for name, source in moved.items()]
        say(arguments, *lines, f"{path}: {'written' if written else 'unchanged'}")
        return
    view = {
        "formatVersion": FORMAT_VERSION,
        "file": path,
        "written": written,
        "added": [_named(source) for source in locked.added],
        "dropped": [_named(source) for source in locked.dropped],
        "moved": [{"model": name, **_named(one), "upstream": one.upstream} for name, one in moved.items()],
    }
    sys.stdout.write(json_text(view))


def _named(source: LockedSource) -> dict[str, Any]:
    return {"repo": source.repo, "revision": source.revision, "sizeBytes": source.size}


def _print_commit(arguments: argparse.Namespace) -> int:
    repo, _, branch = arguments.commit_of.partition("@")
    if repo.startswith(f"{CATALOG}/") and not branch:
        with _remote(CATALOG, arguments) as catalog:
            name = repo.removeprefix(f"{CATALOG}/")
            sys.stdout.write(f"{catalog.commit(LockedSource(kind=CATALOG, repo=name, revision=''))}\n")
        return OK
    if repo.startswith(f"{OCI}/"):
        name, _, tag = arguments.commit_of.removeprefix(f"{OCI}/").rpartition(":")
        if not (is_oci_repository(name) and tag and "/" not in tag):
            raise UsageError("--commit-of: expected oci/HOST/REPOSITORY:TAG")
        with _remote(OCI, arguments) as registry:
            sys.stdout.write(f"{registry.commit(LockedSource(kind=OCI, repo=name, revision=''), tag)}\n")
        return OK
    if not is_repo(repo) or not branch.isprintable() or branch.startswith("-"):
        raise UsageError("--commit-of: expected org/name, org/name@branch, catalog/name or oci/HOST/REPOSITORY:TAG")
    with _remote(HUGGINGFACE, arguments) as hub:
        sys.stdout.write(f"{hub.commit(LockedSource(repo=repo, revision=''), branch)}\n")
    return OK


def _remote(kind: str, arguments: argparse.Namespace) -> RemoteSource:
    home = tempfile.mkdtemp(prefix="reconciler-lock-")
    token_file = options.token_files(arguments).get(kind, "")
    to = RemoteAccess(
        token_file=token_file,
        home=home,
        log=os.path.join(home, "fetch.log"),
        registries=options.traits_of(arguments).registries,
    )
    return REMOTES[kind].open(to)
