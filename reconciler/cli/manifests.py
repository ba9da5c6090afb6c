"""Read the manifests that a verb was given: from a repository (`--repo`) or from a folder (`--path`)."""

from __future__ import annotations

import argparse
import os

from reconciler.cli.repository import load_repository
from reconciler.domain.errors import UsageError
from reconciler.engine.machine import Machine
from reconciler.manifests.parsed import Parsed
from reconciler.sources.manifests import load


def load_manifests(arguments: argparse.Namespace, machine: Machine, *, accept: bool = False) -> Parsed:
    """From --repo, for verbs that know it, else from the folder --path. `accept`: they are going to be applied."""
    if getattr(arguments, "repo", None):
        return load_repository(arguments, machine, accept=accept)
    require_folder(arguments.path)
    return load(arguments.path, allowed_roots=tuple(arguments.source_root))


def require_folder(path: str) -> None:
    """A file is refused: what a folder does not declare is pruned, and one file is not the whole folder."""
    if os.path.isfile(path):
        hint = f"name the folder: --path {os.path.dirname(path) or '.'}; `reconciler validate {path}` checks one file"
        raise UsageError(f"--path wants a folder, got the file {path}", hint=hint)
