"""The most common rot is one bit. A digest tells which one: turn each in turn, until it is right again. Only small
files: the work grows with the square of the size. Pure; sha256 is the proof, so nothing is ever guessed."""

from __future__ import annotations

from hashlib import sha256

LARGEST = 16 << 10  # bytes; takes up to 3 s on one core. Manifests and settings are smaller


def recovered(data: bytes, digest: str) -> bytes | None:
    """The bytes that have this digest, if they are one bit away from `data`."""
    if len(data) > LARGEST:
        return None
    expected, before = digest.removeprefix("sha256:"), sha256()
    for place, byte in enumerate(data):
        for bit in range(8):
            trial, turned = before.copy(), bytes((byte ^ 1 << bit,))
            trial.update(turned + data[place + 1 :])
            if trial.hexdigest() == expected:
                return data[:place] + turned + data[place + 1 :]
        before.update(data[place : place + 1])
    return None
