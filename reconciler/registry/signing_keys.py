"""Keys that sign builds: ECDSA on the curve P-256 with SHA-256, as cosign makes and reads them. Keys that verify: these
and what others sign with, P-384 and P-521 (OpenSSF's model-signing, cosign) and plain Ed25519 (in-toto's tools). The
one module that knows the library `cryptography`, which loads with the first key.
"""

import base64
import binascii
import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from reconciler.domain.errors import PermanentError, ReconcilerError
from reconciler.host.reading import read_trusted

if TYPE_CHECKING:  # it loads with the first key
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey

LIMIT = 16 << 10  # bytes of a key's file
PASSPHRASE_VARIABLE = "RECONCILER_SIGNING_PASSPHRASE"
MAKE_ONE = "make one: openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -out builder.key"
PUBLIC_PART = "write its public part: openssl ec -in builder.key -pubout -out builder.pub"
_COSIGN = "cosign keeps its own keys in a form of its own; make the key with openssl, and `cosign import-key-pair` it"

PEM_ID = "sha256 of its PEM form: "
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")


class KeyUnusable(PermanentError):
    """One line with the file, and a hint."""


def id_of(public: bytes) -> str:
    """Of a public key in DER form (SubjectPublicKeyInfo): its sha256. cosign's bundles name keys by the same."""
    return "sha256:" + hashlib.sha256(public).hexdigest()


def pem_id_of(public: bytes) -> str:
    """The same key as OpenSSF's model signatures name it: by the sha256 of its PEM form."""
    text = base64.b64encode(public)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    pem = b"\n".join((b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----", b""))
    return PEM_ID + hashlib.sha256(pem).hexdigest()


def read_id(path: str) -> str:
    """The id of a public key in a file; no library is loaded. Raises KeyUnusable."""
    return id_of(_der(path))


def _der(path: str) -> bytes:
    found = _PEM.fullmatch(_read(path).lstrip())
    try:
        if found is not None:
            return base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error:
        pass
    raise KeyUnusable(f"{path} holds no public key in PEM form", hint=PUBLIC_PART, code="KeyUnusable")


def _read(path: str) -> bytes:
    """What decides whom this machine trusts, and what others may not replace."""
    try:
        return read_trusted(path, LIMIT)
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}", hint=MAKE_ONE, code="KeyUnusable") from None
    except ReconcilerError as error:
        raise KeyUnusable(str(error), hint=error.hint, code="KeyUnusable") from None


class _Key:
    _checks: tuple[Callable[[bytes, bytes], None], ...]

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether this key made it."""
        from cryptography.exceptions import InvalidSignature

        for check in self._checks:
            with contextlib.suppress(InvalidSignature):
                check(signature, data)
                return True
        return False


class VerificationKey(_Key):
    """A public key of a builder, or of who signs models. `names`: what bundles may call it."""

    def __init__(self, path: str) -> None:
        """Raises KeyUnusable."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        data = _der(path)
        try:
            self._checks = _checks_of(load_der_public_key(data))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            message = f"{path} holds no key on the curve P-256, P-384 or P-521, and no Ed25519 key"
            raise KeyUnusable(message, hint=MAKE_ONE, code="KeyUnusable") from None
        self.path, self.id = path, id_of(data)
        self.names = (self.id, pem_id_of(data))


class SigningKey(_Key):
    """A private key of a builder or a machine: PKCS#8 or SEC1 in PEM form, with a passphrase or without. `public` is
    its public part in DER form."""

    def __init__(self, path: str, passphrase_file: str = "", environment: Mapping[str, str] = os.environ) -> None:
        """The passphrase is read only where the key wants one. Raises KeyUnusable, which shows neither."""
        self._key = _private(path, passphrase_file, environment)
        self._checks = _checks_of(self._key.public_key())
        self.public = self._public()
        self.id = id_of(self.public)

    def sign(self, data: bytes) -> bytes:
        """In DER form."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key.sign(data, ECDSA(SHA256()))

    def _public(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _private(path: str, passphrase_file: str, environment: Mapping[str, str]) -> "EllipticCurvePrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    if b"SIGSTORE PRIVATE KEY" in data or b"COSIGN PRIVATE KEY" in data:
        raise KeyUnusable(f"{path} is a key that cosign made for itself", hint=_COSIGN, code="KeyUnusable")
    try:
        try:
            key = load_pem_private_key(data, None)
        except TypeError:  # it wants a passphrase
            key = load_pem_private_key(data, _passphrase(path, passphrase_file, environment))
    except (ValueError, UnsupportedAlgorithm):
        message = f"{path} holds no private key in PEM form, or another passphrase opens it"
        raise KeyUnusable(message, hint=MAKE_ONE, code="KeyUnusable") from None
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise KeyUnusable(f"{path} is no ECDSA key on the curve P-256", hint=MAKE_ONE, code="KeyUnusable")


def _passphrase(path: str, passphrase_file: str, environment: Mapping[str, str]) -> bytes:
    found = _read(passphrase_file).rstrip(b"\r\n") if passphrase_file else b""
    if found := found or environment.get(PASSPHRASE_VARIABLE, "").encode():
        return found
    hint = f"put it into a file (--signing-passphrase-file), or into {PASSPHRASE_VARIABLE}"
    raise KeyUnusable(f"{path} wants a passphrase", hint=hint, code="KeyUnusable")


def _checks_of(key: object) -> tuple[Callable[[bytes, bytes], None], ...]:
    """How a signature of it may be made; each raises InvalidSignature. A larger curve goes with the hash of its size
    (model-signing, cosign of today), or with SHA-256 (earlier ones). Ed25519 over the bytes themselves (RFC 8032): what
    cosign signs prehashed in some versions does not count."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

    if isinstance(key, Ed25519PublicKey):
        return (key.verify,)
    hashes = {"secp256r1": (SHA256,), "secp384r1": (SHA384, SHA256), "secp521r1": (SHA512, SHA256)}
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in hashes:
        return tuple(partial(_verify_ecdsa, key, ECDSA(one())) for one in hashes[key.curve.name])
    raise ValueError


def _verify_ecdsa(key: "EllipticCurvePublicKey", algorithm: "ECDSA", signature: bytes, data: bytes) -> None:
    key.verify(signature, data, algorithm)
