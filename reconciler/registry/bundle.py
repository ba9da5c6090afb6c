"""Sigstore bundles (v0.3) with one DSSE envelope, signed by a plain key: the form in which cosign stores an
attestation. Written and read here; entries of transparency logs and timestamps in them are ignored.

Strict where it decides: one signature, over the type and every byte of the payload.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass

from reconciler.domain.text.quoting import shown
from reconciler.host.codec import Misformed, as_mapping, parse_json
from reconciler.registry.signing_keys import PEM_ID, SigningKey, VerificationKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT_TYPE = "application/vnd.in-toto+json"
LIMIT = 1 << 20  # bytes of a bundle

_HEX = re.compile("[0-9a-f]{64}")


class NotABundle(ValueError):
    """In words that say what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """`payload` counts only where a key that is trusted signed it. `key_id` is what the bundle says of the key: a hint,
    no proof."""

    payload: bytes
    payload_type: str
    signature: bytes
    key_id: str

    def signed_by(self, key: VerificationKey | SigningKey) -> bool:
        # guard: a signature covers every byte
        return key.verifies(self.signature, _signed_bytes(self.payload_type, self.payload))


def sign(payload: bytes, key: SigningKey) -> bytes:
    """A bundle around an in-toto statement."""
    signature = key.sign(_signed_bytes(STATEMENT_TYPE, payload))
    hint = base64.b64encode(bytes.fromhex(key.id.removeprefix("sha256:")))
    bundle = {
        "mediaType": MEDIA_TYPE,
        # sigstore-models wants the list of log entries, though it is empty; the others do not mind it.
        "verificationMaterial": {"publicKey": {"hint": hint.decode()}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": STATEMENT_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        },
    }
    return json.dumps(bundle, separators=(",", ":")).encode()


def read(data: bytes) -> Envelope:
    """Raises NotABundle."""
    try:
        document = as_mapping(parse_json(data, LIMIT))
        kind, envelope, signer = document["mediaType"], document["dsseEnvelope"], document["verificationMaterial"]
        signatures, payload_type = envelope["signatures"], envelope["payloadType"]
        if kind != MEDIA_TYPE:
            raise NotABundle(f"it is of type {shown(str(kind))}, expected {MEDIA_TYPE}")
        # guard: only a statement counts
        if payload_type != STATEMENT_TYPE:
            raise NotABundle(f"its payload is of type {shown(str(payload_type))}, expected {STATEMENT_TYPE}")
        if len(signatures) != 1:
            raise NotABundle(f"it has {len(signatures)} signatures, expected one")
        return Envelope(
            payload=_bytes(envelope["payload"]),
            payload_type=payload_type,
            signature=_bytes(signatures[0]["sig"]),
            key_id=_key_id(signer),
        )
    except NotABundle:
        raise
    except (Misformed, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        raise NotABundle("it has not the form of a sigstore bundle with a DSSE envelope") from None


def _key_id(signer: dict[str, dict[str, str]]) -> str:
    """ "" for a certificate, and for a hint of another kind."""
    try:
        if _HEX.fullmatch(signer["publicKey"]["hint"]):
            return PEM_ID + signer["publicKey"]["hint"]
        return "sha256:" + _bytes(signer["publicKey"]["hint"]).hex()
    except (LookupError, ValueError, TypeError, AttributeError):
        return ""


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotABundle("a part of it is no base64") from None


def _signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature is over: its pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
