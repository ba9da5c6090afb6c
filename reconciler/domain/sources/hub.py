"""A model on the Hugging Face hub, as a manifest names it and as the lock file pins it.

A commit of the hub is not trusted to stay what it is: every file has its size and sha256 in the lock, and a source is
known by those, whatever it is called. So two names for the same files share one folder.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from reconciler.domain import digest
from reconciler.domain.sources.source_model import INDEX, SMALL_FILES

LOCK_NAME = "reconciler.lock.json"
LOCK_BYTES = 4 << 20

# What a model folder is made of (domain.sources.source_model). Whoever wants more, or less, says `include`.
DEFAULT_INCLUDE = (*SMALL_FILES, INDEX, "model*.safetensors")

# Anything else may be a pickle or a program, and reading one can run code.
SAFE_ENDINGS = (".safetensors", ".json", ".jinja", ".txt", ".model")
LONGEST_NAME = 128

_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}


@dataclass(frozen=True, kw_only=True)
class LockedFile:
    """`sha256` is 64 hex digits; `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """`include` is what the manifest says ((): the default). `files` is empty as long as the lock has no entry.

    `upstream` is the commit that the hub's default branch was at when `reconciler lock` last looked.
    """

    repo: str
    revision: str
    include: tuple[str, ...] = ()
    files: tuple[LockedFile, ...] = ()
    upstream: str = ""

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision[:12]}"

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        return self.repo, self.revision, self.include

    @cached_property
    def digest(self) -> str:
        """Of the files alone."""
        return digest.of_value(sorted([file.path, file.size, file.sha256] for file in self.files))

    @cached_property
    def fetch_key(self) -> str:
        """Under which a failed download is remembered: the same files from elsewhere may come."""
        return digest.of_value([self.repo, self.revision, self.digest])

    @cached_property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """What a source lacks on this machine: `missing` bytes; `damaged` are files that changed since they came. Before it
    was ever here it is not `known`: nobody can tell yet what its conversion is made of."""

    source: HubSource
    missing: int
    damaged: tuple[str, ...] = ()
    known: bool = True


def is_safe(name: str) -> bool:
    """A plain file directly in the folder, of a kind that only holds data, with one name on every system."""
    return (
        len(name) <= LONGEST_NAME
        and name.endswith(SAFE_ENDINGS)
        and not name.startswith((".", "-"))
        and all(letter.isascii() and (letter.isalnum() or letter in "._-+=@ ") for letter in name)
        and name.partition(".")[0].casefold() not in _DEVICES
    )


def is_included(name: str, include: tuple[str, ...]) -> bool:
    return is_safe(name) and any(fnmatchcase(name, pattern) for pattern in include or DEFAULT_INCLUDE)
