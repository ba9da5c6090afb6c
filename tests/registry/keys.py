"""Key pairs for tests, as `openssl ecparam -name prime256v1 -genkey` makes them."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def key_pair(
    folder: Path, name: str, *, passphrase: str = "", curve: ec.EllipticCurve | None = None
) -> tuple[str, str]:
    """The paths of `name`.key and `name`.pub."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return written(folder, name, key, passphrase)


def written(folder: Path, name: str, key: object, passphrase: str = "") -> tuple[str, str]:
    lock = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))  # type: ignore[attr-defined]
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))  # type: ignore[attr-defined]
    public.chmod(0o644)
    return str(private), str(public)
