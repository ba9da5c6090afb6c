"""Parsed: what a folder of manifests declares. Place: what a parse may know of a path on the disk.

Parsing is a pure function of the manifests' bytes and of the answers to the questions it asks about the disk (what does
this path lead to, what is in this template file). So a parse holds as long as these are the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model, Template
from reconciler.domain.policy.policy import Policy
from reconciler.domain.rollout import Rollout


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
    policies: tuple[Policy, ...] = ()  # also those that are broken
    confirmed: tuple[str, ...] = ()  # models that may go though many go at once (PruneConfirmation)
    rollouts: tuple[Rollout, ...] = ()  # also those with a problem: what they cover waits
    half_read: tuple[Model, ...] = ()  # models with a problem that says nothing of their source: only that is looked at
    broken: frozenset[str] = frozenset()  # models that are there and have a problem, their own or of what they refer to
    failed: bool = False  # we failed in a document: a mistake of ours, perhaps behind the problems that are shown
    # The manifests as they were written, by the name that models know them by: shown, and never read again.
    texts: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a path leads to, symlinks followed: `kind` is file, folder, other or missing; or unknown, where a folder may
    be that cannot be looked at from here."""

    path: str
    kind: str
