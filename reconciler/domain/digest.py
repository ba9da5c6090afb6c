"""Canonical JSON of a value, and the digest of bytes: `sha256:<64 hex>`."""

import json
from dataclasses import dataclass
from hashlib import sha256

# Made once: json.dumps would make a new encoder for each call.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8, no NaN: equal values give equal bytes."""
    return _encode(value).encode()


def of_bytes(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


def of_value(value: object) -> str:
    return of_bytes(canonical(value))


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One file of an artifact. `path` is relative with forward slashes, `size` in bytes."""

    path: str
    digest: str
    size: int
