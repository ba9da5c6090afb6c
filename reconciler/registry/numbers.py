"""The numbers of a comparison with the source, beside the artifact that was compared: an OCI referrer of its manifest,
with the numbers in an annotation and the reference answers as its layer. Another machine judges them by its own gates.

They are as trustworthy as the registry: a machine that wants builds signed takes those of the signed statement instead
(registry.provenance). What is read is checked for its form, its build key and the artifact that it is about.
"""

import json
from collections.abc import Iterator

from reconciler.domain.errors import RegistryFailed
from reconciler.domain.measured import Fidelity, without_nothing
from reconciler.domain.plain_data import as_dict
from reconciler.domain.reference import Comparison, Reference
from reconciler.gates import reference as references
from reconciler.registry.client import NOT_WHOLE, RegistryClient
from reconciler.registry.notes import NotANote, layer_in, note, note_manifest
from reconciler.registry.provenance import FIDELITY_TYPE, numbers_in

TYPE = FIDELITY_TYPE
ANNOTATION = "reconciler.foundry/fidelity"
MOST = 16  # of one artifact that are read


def push_numbers(client: RegistryClient, manifest: bytes, compared: Comparison, folder: str) -> None:
    """For the artifact of this manifest, which may come afterwards. `folder` is for a temporary file."""
    client.attach(note(client, TYPE, _annotations(compared.fidelity), folder, manifest, layer(compared)))


def numbers_manifest(manifest: bytes, compared: Comparison) -> bytes:
    """What is attached to the artifact of this manifest, for an archive; `layer` is the blob that it names."""
    return note_manifest(TYPE, _annotations(compared.fidelity), manifest, layer(compared))


def layer(compared: Comparison) -> bytes:
    """Nothing where there are no reference answers."""
    return references.written(compared.reference) if compared.reference is not None else b""


def _annotations(fidelity: Fidelity) -> dict[str, str]:
    return {ANNOTATION: json.dumps(without_nothing(as_dict(fidelity)), sort_keys=True)}


def find_numbers(client: RegistryClient, artifact: str, build_key: str) -> Comparison | None:
    """The newest of those that fit. Raises RegistryFailed."""
    found = list(_numbers(client, artifact, build_key))
    if not found:
        return None
    manifest, fidelity = max(found, key=lambda one: one[1].when)
    return Comparison(fidelity=fidelity, reference=_reference(client, manifest, artifact, build_key))


def find_reference(client: RegistryClient, artifact: str, build_key: str, digest: str) -> Reference | None:
    """Those that a signed statement names by their digest. Raises RegistryFailed."""
    for manifest, _ in _numbers(client, artifact, build_key):
        # guard: reference answers are those that were signed
        if layer_digest(manifest) == digest:
            return _reference(client, manifest, artifact, build_key)
    return None


def _numbers(client: RegistryClient, artifact: str, build_key: str) -> Iterator[tuple[bytes, Fidelity]]:
    """Those that fit, each with the manifest that it lies in."""
    for one in client.referrers(artifact, TYPE)[:MOST]:
        manifest = client.manifest(one["digest"])
        if (fidelity := read_numbers(manifest, artifact, build_key)) is not None:
            yield manifest, fidelity


def _reference(client: RegistryClient, manifest: bytes, artifact: str, build_key: str) -> Reference | None:
    """What an earlier version pushed has none. The numbers count without."""
    try:
        return references.read(layer_in(client, manifest, TYPE, artifact, references.LARGEST), build_key)
    except NotANote:
        return None
    except RegistryFailed as error:
        if error.code not in NOT_WHOLE:
            raise
        return None


def layer_digest(data: bytes) -> str:
    """Of the one blob that a note names, "" for another form."""
    try:
        [layer] = json.loads(data)["layers"]
        return str(layer["digest"])
    except (ValueError, LookupError, TypeError):
        return ""


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
