"""Signed builds in a registry. A bundle is stored as cosign stores an attestation: an OCI referrer of the artifact's
manifest whose one layer is the bundle.

`push_signature` attaches one; `find_signature` reads those of an artifact and gives the first that a trusted key made
about this artifact and this build key. What none of them proves is `Unproven`, with every reason in one line.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from reconciler.domain.errors import RegistryFailed
from reconciler.domain.machine.trust import TrustedKey
from reconciler.domain.measured import Fidelity
from reconciler.domain.text.quoting import in_short
from reconciler.registry import bundle, provenance
from reconciler.registry.bundle import NotABundle
from reconciler.registry.client import NOT_WHOLE, Descriptor, RegistryClient
from reconciler.registry.notes import NotANote, layer_of, note
from reconciler.registry.provenance import NotThisBuild
from reconciler.registry.signing_keys import KeyUnusable, SigningKey, VerificationKey

MOST = 16  # bundles of one artifact that are read
PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"  # an annotation, as cosign writes it
SHOWN = 3  # reasons in one message


class Unproven(Exception):
    """No signature counts. In words that say why."""


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What a trusted builder says of an artifact."""

    key_id: str
    fidelity: Fidelity | None
    reference: str = ""  # the digest of its reference answers


class KeyRing:
    """The keys of one trust rule. One whose file cannot be used, or whose time is over, counts for nothing, and what is
    wrong with it is named where no other key has signed."""

    def __init__(self, keys: Sequence[TrustedKey], now: str) -> None:
        self.counting: list[VerificationKey] = []
        self._expired: dict[str, TrustedKey] = {}
        self._unusable: list[str] = []
        for one in keys:
            try:
                key = VerificationKey(one.file)
            except KeyUnusable as error:
                self._unusable.append(str(error))
                continue
            # guard: a key counts until its last day
            if one.counts(now):
                self.counting.append(key)
            else:
                self._expired |= dict.fromkeys(key.names, one)

    def verified(self, data: bytes, artifact: str, build_key: str) -> Signed:
        """Raises Unproven."""
        key_id, payload = self.opened(data)
        try:
            stated = provenance.read(payload, artifact, build_key)
            return Signed(key_id=key_id, fidelity=stated.fidelity, reference=stated.reference)
        except NotThisBuild as error:
            raise Unproven(f"a signature does not count: {error}") from None

    def opened(self, data: bytes) -> tuple[str, bytes]:
        """The id of the trusted key that signed a bundle, and the statement in it. Raises Unproven."""
        try:
            envelope = bundle.read(data)
        except NotABundle as error:
            raise Unproven(f"a signature does not count: {error}") from None
        # guard: only a trusted key counts
        signer = next((key for key in self.counting if envelope.signed_by(key)), None)
        if signer is None:
            raise Unproven(self._why_not(envelope.key_id))
        return signer.id, envelope.payload

    def _why_not(self, key_id: str) -> str:
        named = next((key.path for key in self.counting if key_id in key.names), "")
        if named:
            return f"a signature of {named} is not over these bytes"
        if (over := self._expired.get(key_id)) is not None:
            return f"it is signed by {over.file}, which counted until {over.until}"
        return f"it is signed by a key that is not trusted here ({key_id or 'a certificate'})"

    def unsigned(self, found: Sequence[str]) -> Unproven:
        """`found`: what is wrong with the bundles that are there."""
        reasons = list(dict.fromkeys([*found, *self._unusable])) or ["it is unsigned"]
        files = ", ".join(key.path for key in self.counting) or "none that counts"
        return Unproven(f"{in_short(reasons, SHOWN)}; keys: {files}")


def push_signature(client: RegistryClient, manifest: bytes, signed: bytes, created: str, folder: str) -> None:
    """For the artifact of this manifest, which may come afterwards. `folder` is for temporary files."""
    annotations = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        PREDICATE_TYPE: provenance.PREDICATE,
        "org.opencontainers.image.created": created,
    }
    client.attach(note(client, bundle.MEDIA_TYPE, annotations, folder, manifest, signed))


def is_signed_by(client: RegistryClient, artifact: str, build_key: str, key: SigningKey) -> bool:
    """Whether one of its bundles is a builder's own, and says what it would say. Raises RegistryFailed."""
    for one in _listed(client, artifact):
        with contextlib.suppress(NotABundle, NotANote, NotThisBuild):
            envelope = bundle.read(layer_of(client, one["digest"], bundle.MEDIA_TYPE, artifact, bundle.LIMIT))
            # guard: what only names a key is not signed by it
            if envelope.signed_by(key):
                provenance.read(envelope.payload, artifact, build_key)
                return True
    return False


def _listed(client: RegistryClient, artifact: str) -> list[Descriptor]:
    """Bundles that are, or may be, of a provenance: there may be any number of others, such as bills of materials."""
    return [one for one in client.referrers(artifact, bundle.MEDIA_TYPE) if _may_be_provenance(one)][:MOST]


def _may_be_provenance(listed: Descriptor) -> bool:
    annotations = listed.get("annotations")
    kind = annotations.get(PREDICATE_TYPE) if isinstance(annotations, dict) else None
    return kind in (None, provenance.PREDICATE)


def find_signature(client: RegistryClient, artifact: str, build_key: str, ring: KeyRing) -> Signed:
    """Raises Unproven, and RegistryFailed where the registry cannot be asked."""
    listed = _listed(client, artifact)
    layers = (partial(layer_of, client, one["digest"], bundle.MEDIA_TYPE, artifact, bundle.LIMIT) for one in listed)
    return first_that_counts(layers, artifact, build_key, ring)


def first_that_counts(bundles: Iterable[Callable[[], bytes]], artifact: str, build_key: str, ring: KeyRing) -> Signed:
    """Each is read when its turn comes. Raises Unproven, and RegistryFailed as they do."""
    wrong: list[str] = []
    for read in bundles:
        try:
            return ring.verified(read(), artifact, build_key)
        except Unproven as error:
            wrong.append(str(error))
        except NotANote as error:
            wrong.append(f"a signature does not count: {error}")
        except RegistryFailed as error:
            if error.code not in NOT_WHOLE:
                raise
            wrong.append(str(error))
    raise ring.unsigned(wrong)
