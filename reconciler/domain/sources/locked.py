"""A model in a remote place, as a manifest names it and as the lock file pins it; its fields and their order are those
of an entry of that file.

A revision is not trusted to stay what it is: every file has its size and sha256 in the lock, and a source is known by
those, whatever it is called. So two names for the same files share one folder.
"""

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any

from annotated_types import Interval, Predicate

from reconciler.domain import digest
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.source_model import (
    AUDIO_PROCESSOR,
    COMPILED,
    COMPILED_NAMES,
    GENAI_CONFIG,
    INDEX,
    ONNX_DATA,
    ONNX_GRAPH,
    SMALL_FILES,
    TOKENIZER_FILES,
)

LOCK_NAME = "reconciler.lock.json"
FACTS_NAME = "reconciler.facts.json"
CARDS_NAME = "reconciler.cards.json"
LOCK_NAMES = (LOCK_NAME, FACTS_NAME, CARDS_NAME)
LOCK_BYTES = 4 << 20  # of each of the two
CATALOG = "catalog"  # Foundry's own; its models are ready ONNX ones
OCI = "oci"  # a repository of a registry; its models are ready ONNX ones
GIT = "git"  # a folder of the followed repository in which Git LFS keeps files: its pointers are the lock
HUGGINGFACE = "huggingface"  # the kind of a lock entry that names none

_NAMES = {CATALOG: ("name", "version"), OCI: ("repository", "digest")}

# What a model folder is made of (domain.sources.source_model). A manifest that needs more, or less, has `include`.
DEFAULT_INCLUDE = (*SMALL_FILES, INDEX, "model*.safetensors")

# What a ready ONNX folder is made of; which of its files count, its configuration says once it is here.
# Locks that earlier versions wrote lack what was added since, and nothing but a look at the model asks for that.
_READY_AT_FIRST = (GENAI_CONFIG, *TOKENIZER_FILES, *(f"*{ending}" for ending in (ONNX_GRAPH, *ONNX_DATA)))
_READY_SINCE = (AUDIO_PROCESSOR, *COMPILED_NAMES)
READY_INCLUDE = (*_READY_AT_FIRST, *_READY_SINCE)

# Anything else may be a pickle or a program, and reading one can run code.
SAFE_ENDINGS = (".safetensors", ".onnx", *ONNX_DATA, ".json", ".jinja", ".txt", ".model", ".md", ".sig")
LONGEST_NAME = 128

_SHA256 = re.compile("[0-9a-f]{64}")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}


def names_of(kind: str) -> tuple[str, str]:
    """What manifests of a kind call `repo` and `revision`."""
    return _NAMES.get(kind, ("repo", "revision"))


def is_device(name: str) -> bool:
    """On Windows."""
    return name.partition(".")[0].casefold() in _DEVICES


def is_safe(name: str, endings: tuple[str, ...] = SAFE_ENDINGS) -> bool:
    """A plain file directly in the folder, of a kind that only holds data, with one name on every system."""
    return (
        len(name) <= LONGEST_NAME
        and name.endswith(endings)
        and not name.startswith((".", "-"))
        and all(letter.isascii() and (letter.isalnum() or letter in "._-+=@ ") for letter in name)
        and not is_device(name)
    )


def _has_safe_name(name: str) -> bool:
    # guard: what is printed of the hub's listing is safe to name
    if not is_safe(name, (*SAFE_ENDINGS, *COMPILED)):  # guard: a locked file has a safe name
        raise ValueError("the name of a safe file")
    return True


def _is_sha256(text: str) -> bool:
    if not _SHA256.fullmatch(text):
        raise ValueError("a sha256 of 64 hex digits")
    return True


@dataclass(frozen=True, kw_only=True)
class LockedFile:
    """`size` in bytes."""

    path: Annotated[str, Predicate(_has_safe_name)]
    size: Annotated[int, Interval(ge=0, le=1 << 44)]
    sha256: Annotated[str, Predicate(_is_sha256)]


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What a look at the small files of a source found, so that its build keys are known before it ever was here.
    `weights` are the names of its files that hold weights, `config` is its config.json."""

    weights: tuple[str, ...]
    config: dict[str, Any]
    chat_template: str | None = None


SourceKey = tuple[str, str, str, tuple[str, ...], bool, str]


@dataclass(frozen=True, kw_only=True)
class LockedSource:
    """`kind` is the field of `spec.source` that declares it; `repo` and `revision` have that kind's form. Of `git`,
    which is declared by a path, they are the address that a machine follows and the tree of the `folder`. `include` is
    the manifest's ((): the default). `files` is empty as long as the lock has no entry. One that is `ready` is an ONNX
    folder, which is taken as it is; it may lie in a `folder` of the repository, and its files are named from there.

    `upstream` is the revision that the place offered by default when `reconciler lock` last asked. `facts` are in a
    file of their own; None where it has none for these files. So is the model `card` of that revision.
    """

    kind: str = HUGGINGFACE
    repo: str
    revision: str
    include: tuple[str, ...] = ()
    ready: bool = False
    folder: str = ""
    upstream: str = ""
    files: tuple[LockedFile, ...] = ()
    facts: SourceFacts | None = field(default=None, compare=False)
    card: ModelCard | None = field(default=None, compare=False)

    def __str__(self) -> str:
        within = f"/{self.folder}" if self.folder else ""
        return f"{self.repo}@{self.revision.removeprefix('sha256:')[:12]}{within}"

    @property
    def name(self) -> str:
        """What problems of its files call it."""
        return (self.folder if self.kind == GIT else "") or self.repo

    @property
    def field(self) -> str:
        """Of the manifest that declares it."""
        if self.kind == GIT:
            return "spec.source"  # as of any folder of the repository
        return f"spec.source.{'onnx.' if self.ready and self.kind != CATALOG else ''}{self.kind}"

    def includes(self, name: str) -> bool:
        """Whether a file of this name is one of it."""
        return self._is_of(READY_INCLUDE if self.ready else DEFAULT_INCLUDE, name)

    def expects(self, name: str) -> bool:
        """Whether a file of this name that its repository has must be in the lock, whichever version wrote that."""
        return self._is_of(_READY_AT_FIRST if self.ready else DEFAULT_INCLUDE, name)

    def _is_of(self, default: tuple[str, ...], name: str) -> bool:
        endings = (*SAFE_ENDINGS, *COMPILED) if self.ready else SAFE_ENDINGS
        return is_safe(name, endings) and any(fnmatchcase(name, pattern) for pattern in self.include or default)

    @property
    def place(self) -> str:
        """Under which its model card is known: a revision of a repository."""
        return f"{self.kind}/{self.repo}@{self.revision}"

    @property
    def key(self) -> SourceKey:
        return self.kind, self.repo, self.revision, self.include, self.ready, self.folder

    @cached_property
    def digest(self) -> str:
        """Of the files alone."""
        return digest.of_value(sorted([file.path, file.size, file.sha256] for file in self.files))

    @cached_property
    def fetch_key(self) -> str:
        """Under which a failed download is remembered: the same files may come from another repository."""
        return digest.of_value([self.repo, self.revision, self.digest, *([self.folder] if self.folder else [])])

    @cached_property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """What a source lacks on this machine: `missing` bytes; `damaged` are files that changed since they came. Not
    `known`: it was never here, so what its conversion is made of is known only after the download."""

    source: LockedSource
    missing: int
    damaged: tuple[str, ...] = ()
    known: bool = True
