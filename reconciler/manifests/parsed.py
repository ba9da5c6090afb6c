"""Parsed: what a folder of manifests declares; Inputs: all that a parse depends on.

Parsing is a pure function of the manifests' bytes and of the answers to the questions it asks about the disk (what does
this path lead to, what is in this template file). So a parse holds as long as its inputs are the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.domain import digest
from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model, Template


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """Everything that was declared. A model with a problem is not in `models`, so never prune while there are any.

    `revision` names exactly these declarations: `folder@sha256:<hex>` for files on disk.
    """

    revision: str = ""
    models: tuple[Model, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    templates: tuple[Template, ...] = ()  # the PromptTemplates, whether or not a model refers to them
    confirmed: tuple[str, ...] = ()  # models that may go though many go at once (PruneConfirmation)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a path leads to, symlinks followed: `kind` is file, folder, other or missing; or unknown, where a folder may
    be that cannot be looked at from here."""

    path: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that a parse depends on.

    `manifests` are digests by file name, `places` what each asked path led to, `files` the digest of each other file
    that was read: templates, fixtures, golden prompts, the lock file (None: it could not be read).
    """

    base: str
    prefix: str
    roots: tuple[str, ...]
    manifests: Mapping[str, str]
    places: Mapping[str, Place] = field(default_factory=dict)
    files: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, *, base: str, prefix: str, roots: tuple[str, ...], files: Mapping[str, bytes]) -> "Inputs":
        """Before anything was asked. `files` are the manifests."""
        manifests = {name: digest.of_bytes(data) for name, data in files.items()}
        return cls(base=base, prefix=prefix, roots=roots, manifests=manifests)

    @property
    def revision(self) -> str:
        """The declarations alone: neither where they lie nor what else is on the disk."""
        declared = {"manifests": self.manifests, "templates": sorted(one for one in self.files.values() if one)}
        return f"folder@{digest.of_value(declared)}"
