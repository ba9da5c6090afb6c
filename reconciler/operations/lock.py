"""`reconciler lock`: ask each remote source for the files of each declared revision, and pin each file by its sha256.

A revision never changes, so locked sources are not asked for again. A source names the sha256 of its large files; small
files are downloaded here and hashed. What they say of the model goes into a second file (`manifests.source_facts`).
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.domain.errors import PermanentError, ReconcilerError
from reconciler.domain.manifest import Model
from reconciler.domain.sources.locked import (
    CARDS_NAME,
    FACTS_NAME,
    LOCK_BYTES,
    LOCK_NAME,
    OCI,
    LockedFile,
    LockedSource,
    SourceFacts,
)
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.source_model import GENAI_CONFIG, INDEX, ONNX_GRAPH, SMALL_FILES
from reconciler.domain.text.quoting import shown
from reconciler.manifests import lock_file, source_facts
from reconciler.manifests.lock_file import Entries
from reconciler.sources.folder.locked import LockedFolder
from reconciler.sources.folder.model import look_without_weights
from reconciler.sources.model_card import LARGEST, README, read_card
from reconciler.sources.protocol import RemoteSource

# The Hugging Face hub keeps files without a sha256 in git, which takes at most 10 MB of each.
MAX_UNHASHED = 64 << 20
NOTHING: dict[str, SourceFacts] = {}
NO_CARDS: dict[str, ModelCard] = {}
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """`data` is the new lock file, `facts` that of facts, `cards` that of model cards; `added` and `dropped` are the
    sources that the lock has more and less than the old one."""

    data: bytes
    facts: bytes
    cards: bytes
    entries: Entries
    added: tuple[LockedSource, ...]
    dropped: tuple[LockedSource, ...]


def declared(models: Iterable[Model]) -> Entries:
    return {one.key: one for model in models for one in model.remotes}


def outdated(models: Iterable[Model], old: Entries) -> tuple[tuple[LockedSource, ...], tuple[LockedSource, ...]]:
    """(declared and not locked, locked and not declared), without the network."""
    wanted = declared(models)
    missing = tuple(wanted[key] for key in sorted(wanted.keys() - old.keys()))
    return missing, tuple(old[key] for key in sorted(old.keys() - wanted.keys()))


def lock(
    models: Iterable[Model],
    old: Entries,
    remotes: Mapping[str, RemoteSource],
    say: Callable[[str], None],
    *,
    facts: Mapping[str, SourceFacts] = NOTHING,
    cards: Mapping[str, ModelCard] = NO_CARDS,
) -> Locked:
    """The new files; `facts` are the old ones by digest, `cards` by place, `remotes` by kind. Raises ReconcilerError
    when one refuses; then the old files stay."""
    wanted = declared(models)
    missing, dropped = outdated(models, old)
    entries: Entries = {}
    upstream: dict[tuple[str, ...], str] = {}
    for key in sorted(wanted):
        known, remote = old.get(key), remotes[wanted[key].kind]
        source = known or _pin(wanted[key], remote, say)
        asked = _asked(source)
        if asked not in upstream:
            upstream[asked] = _upstream(source, remote, say, known=known is not None)
        entries[key] = replace(source, upstream=upstream[asked])
    data = _rendered(entries)
    described: dict[str, SourceFacts] = {}
    for source in (one for one in entries.values() if not one.ready):
        one = described.get(source.digest) or facts.get(source.digest)
        if one is None or not source_facts.fit(one, source):
            one = _facts(source, remotes[source.kind], say)
        described |= {source.digest: one} if one is not None else {}
    told: dict[str, ModelCard] = {}
    for source in entries.values():
        found = told.get(source.place) or cards.get(source.place) or _card(source, remotes[source.kind], say)
        told |= {source.place: found} if found is not None else {}
    rendered = source_facts.render(described)
    added = tuple(entries[source.key] for source in missing)
    written = source_facts.render_cards(told)
    return Locked(data=data, facts=rendered, cards=written, entries=entries, added=added, dropped=dropped)


def _rendered(entries: Entries) -> bytes:
    """Read back, because the answers are untrusted and machines must be able to read the file."""
    data = lock_file.render(entries.values())
    try:
        lock_file.read(data)
    except source_facts.LockInvalid as invalid:
        raise PermanentError(f"what was listed makes no lock: {invalid}", code="HubIncomplete") from None
    return data


def _asked(source: LockedSource) -> tuple[str, ...]:
    """Sources with one upstream. A repository of a registry has no default tag: there each digest is its own."""
    return source.kind, source.repo, *([source.revision] if source.kind == OCI else [])


def _upstream(source: LockedSource, remote: RemoteSource, say: Callable[[str], None], *, known: bool) -> str:
    """The commit of the default branch. For a locked source, there may be no answer."""
    try:
        return remote.commit(source)
    except ReconcilerError as error:
        if not known:
            raise
        say(f"warning: {error}")
        return source.upstream


def read_lock(folder: str) -> Entries:
    """The entries of the lock file; none where there is no file. Raises LockInvalid."""
    try:
        with open(os.path.join(folder, LOCK_NAME), "rb") as file:
            return lock_file.read(file.read(LOCK_BYTES + 1))
    except FileNotFoundError:
        return {}


def read_facts(folder: str) -> dict[str, SourceFacts]:
    """None of them where the file is not there, or not as we write it: then they are looked for anew."""
    try:
        with open(os.path.join(folder, FACTS_NAME), "rb") as file:
            return source_facts.read(file.read(LOCK_BYTES + 1))
    except (FileNotFoundError, source_facts.LockInvalid):
        return {}


def read_cards(folder: str) -> dict[str, ModelCard]:
    """As `read_facts`."""
    try:
        with open(os.path.join(folder, CARDS_NAME), "rb") as file:
            return source_facts.read_cards(file.read(LOCK_BYTES + 1))
    except (FileNotFoundError, source_facts.LockInvalid):
        return {}


def _card(source: LockedSource, remote: RemoteSource, say: Callable[[str], None]) -> ModelCard | None:
    """Of the revision, whether or not `include` takes its README.md. None, with a warning, where it cannot be asked."""
    source = replace(source, folder="")  # a repository has one, at its top
    try:
        sizes = {str(one["path"]): int(one["size"]) for one in remote.tree(source)}
        if sizes.get(README, LARGEST + 1) > LARGEST:
            return ModelCard()
        with tempfile.TemporaryDirectory(prefix="reconciler-lock-") as folder:
            _hashed(source, LockedFile(path=README, size=sizes[README], sha256=""), remote, folder)
            return read_card(folder) or ModelCard()
    except ReconcilerError as error:
        say(f"warning: {source}: its licence is not known: {error}")
        return None


def _pin(source: LockedSource, remote: RemoteSource, say: Callable[[str], None]) -> LockedSource:
    listed = remote.tree(source)
    chosen = sorted((one for one in listed if source.includes(one["path"])), key=lambda f: f["path"])
    _check(source, chosen, [one["path"] for one in listed])
    say(f"{source}: {len(chosen)} files, {sum(one['size'] for one in chosen):,} bytes")
    with tempfile.TemporaryDirectory(prefix="reconciler-lock-") as folder:
        return replace(source, files=tuple(_file(source, one, remote, folder) for one in chosen))


def _facts(source: LockedSource, remote: RemoteSource, say: Callable[[str], None]) -> SourceFacts | None:
    """None, with a warning, where they cannot be had: the source can be used without."""
    with tempfile.TemporaryDirectory(prefix="reconciler-lock-") as folder:
        try:
            for file in source.files:
                if file.path in (*SMALL_FILES, INDEX) and file.size <= MAX_UNHASHED:
                    _fetch(source, file, remote, folder)
        except ReconcilerError as error:
            say(f"warning: {error}")
            return None
        model = look_without_weights(LockedFolder(folder, source))
    for problem in model.problems:
        say(f"warning: {source}: {os.path.basename(problem.file)}: {problem.message}")
    if model.problems:
        return None
    weights = tuple(file.path for file in model.files if file.path.endswith(".safetensors"))
    return SourceFacts(weights=weights, config=model.config, chat_template=model.chat_template)


def _fetch(source: LockedSource, file: LockedFile, remote: RemoteSource, folder: str) -> None:
    found = _hashed(source, file, remote, folder)
    if found != file.sha256:  # guard: facts are of the locked bytes
        raise PermanentError(f"{source}: {file.path} has other bytes than are locked", code="DigestMismatch")


def _check(source: LockedSource, chosen: list[dict[str, Any]], names: list[str]) -> None:
    """Refuse what no machine can convert here, where the user looks, and not after a download."""
    found = {one["path"] for one in chosen}
    if len(chosen) > lock_file.MAX_FILES:
        raise PermanentError(f"{source} has more than {lock_file.MAX_FILES:,} files", code="TooManyFiles")
    if source.ready:
        _check_ready(source, found)
        return
    if not any(name.endswith(".safetensors") for name in found):
        pickled = next((name for name in sorted(names) if name.endswith(_PICKLED)), "")
        held = f"; {shown(pickled)} is a pickle, and reading one can run code" if pickled else ""
        raise PermanentError(
            f"{source} has no weights in safetensors that `include` takes{held}",
            hint="look for a commit or a repository with *.safetensors",
            code="WeightsMissing",
        )
    if "config.json" not in found:
        raise PermanentError(
            f"{source} has no config.json that `include` takes",
            hint="a model folder is what `save_pretrained` writes",
            code="ConfigMissing",
        )


def _check_ready(source: LockedSource, found: set[str]) -> None:
    if GENAI_CONFIG not in found or not any(name.endswith(ONNX_GRAPH) for name in found):
        raise PermanentError(
            f"{source} has no {GENAI_CONFIG} beside an ONNX file",
            hint="a ready ONNX folder often lies deeper in its repository: name it by `folder`",
            code="GenaiConfigMissing",
        )


def _file(source: LockedSource, listed: dict[str, Any], remote: RemoteSource, folder: str) -> LockedFile:
    path, size, sha256 = str(listed["path"]), int(listed["size"]), str(listed["sha256"])
    if not sha256:
        if size > MAX_UNHASHED:
            raise PermanentError(f"{source}: the listing has no sha256 of {path}", code="HubIncomplete")
        sha256 = _hashed(source, LockedFile(path=path, size=size, sha256=""), remote, folder)
    return LockedFile(path=path, size=size, sha256=sha256)


def _hashed(source: LockedSource, file: LockedFile, remote: RemoteSource, folder: str) -> str:
    """It stays in the folder."""
    target = os.path.join(folder, file.path)
    remote.download(source, file, target, lambda count: None)
    with open(target, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
