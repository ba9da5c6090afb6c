"""The numbers of a comparison with the source, beside the artifact that was compared: an OCI referrer of its manifest,
with the numbers in an annotation. Another machine judges them by its own gates.

They are as trustworthy as the registry: a machine that wants builds signed takes those of the signed statement instead
(registry.provenance). What is read is checked for its form, its build key and the artifact that it is about.
"""

import json

from reconciler.domain.measured import Fidelity
from reconciler.domain.plain_data import as_dict
from reconciler.registry.client import RegistryClient
from reconciler.registry.notes import note, note_manifest
from reconciler.registry.provenance import FIDELITY_TYPE, numbers_in

TYPE = FIDELITY_TYPE
ANNOTATION = "reconciler.foundry/fidelity"
MOST = 16  # of one artifact that are read


def push_numbers(client: RegistryClient, manifest: bytes, fidelity: Fidelity, folder: str) -> None:
    """For the artifact of this manifest, which may come afterwards. `folder` is for a temporary file."""
    client.attach(note(client, TYPE, _annotations(fidelity), folder, manifest))


def numbers_manifest(manifest: bytes, fidelity: Fidelity) -> bytes:
    """What is attached to the artifact of this manifest, for an archive."""
    return note_manifest(TYPE, _annotations(fidelity), manifest)


def _annotations(fidelity: Fidelity) -> dict[str, str]:
    return {ANNOTATION: json.dumps(as_dict(fidelity), sort_keys=True)}


def find_numbers(client: RegistryClient, artifact: str, build_key: str) -> Fidelity | None:
    """The newest of those that fit. Raises RegistryFailed."""
    listed = client.referrers(artifact, TYPE)[:MOST]
    found = [read_numbers(client.manifest(one["digest"]), artifact, build_key) for one in listed]
    return max((one for one in found if one is not None), key=lambda one: one.when, default=None)


def read_numbers(data: bytes, artifact: str, build_key: str) -> Fidelity | None:
    """None for what are no numbers of this artifact."""
    try:
        document = json.loads(data)
        about, numbers = document["subject"]["digest"], document["annotations"][ANNOTATION].encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    # guard: numbers count for the artifact that they are about
    fits = about == artifact
    return numbers_in(numbers, build_key) if fits else None
