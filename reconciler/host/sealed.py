"""JSON documents that carry their own sha256, so that a torn or rotten one is never mistaken for the truth.

The digest is taken over the bytes of the body as they stand in the file: checking needs no second encoding.
"""

import json
from hashlib import sha256
from typing import Any

HEAD = b'{"sha256":"%s","body":'
HEAD_LENGTH = len(HEAD % (b"0" * 64))
TAIL = b"}\n"


class Damaged(ValueError):
    """Not what was written."""


def seal(value: object) -> bytes:
    body = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return HEAD % sha256(body).hexdigest().encode() + body + TAIL


def unseal(data: bytes) -> Any:
    body = data[HEAD_LENGTH : -len(TAIL)]
    expected = HEAD % sha256(body).hexdigest().encode()
    if data[:HEAD_LENGTH] != expected or not data.endswith(TAIL):  # guard: a record matches its digest
        raise Damaged("its content does not match its digest")
    return json.loads(body.decode())  # of bytes it would guess the encoding first
