"""Reading manifests for a verb, with the memory of an earlier parse: unchanged files cost neither pydantic nor YAML."""

from __future__ import annotations

import argparse
import os

from reconciler.engine.machine import Machine
from reconciler.manifests.parse import Parsed
from reconciler.sources.manifests import load


def load_manifests(arguments: argparse.Namespace, machine: Machine, *, accept: bool = False) -> Parsed:
    """From --repo, for verbs that know it, else from the folder --path. `accept`: they are going to be applied."""
    if getattr(arguments, "repo", None):
        from reconciler.cli.repository import load_repository

        return load_repository(arguments, machine, accept=accept)
    require_folder(arguments.path)
    return load(
        arguments.path,
        allowed_roots=tuple(arguments.source_root),
        cache=machine.layout.at("records", "parsed.json"),
        stamps=machine.stamps,
    )


def require_folder(path: str) -> None:
    """What the whole folder does not declare is pruned: one file of it must not stand for all."""
    if os.path.isfile(path):
        from reconciler.domain.errors import UsageError

        hint = f"name the folder: --path {os.path.dirname(path) or '.'}; `reconciler validate {path}` checks one file"
        raise UsageError(f"--path wants a folder, got the file {path}", hint=hint)
