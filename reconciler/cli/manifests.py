"""Reading manifests for a verb, with the memory of an earlier parse: unchanged files cost neither pydantic nor YAML."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from reconciler.core.parse import Parsed
    from reconciler.engine.machine import Machine


def load_manifests(arguments: argparse.Namespace, machine: Machine) -> Parsed:
    from reconciler.sources.manifests import load

    return load(
        arguments.path,
        allowed_roots=tuple(arguments.source_root),
        cache=machine.layout.at("records", "parsed.json"),
    )
