"""Secrets in files: of the webhook that wakes the daemon, of notifications that are signed, of a forge's API.

A file is read anew for each use, so that a secret can be changed while the daemon runs. A secret is never shown.
"""

import os

from reconciler.domain.errors import UsageError
from reconciler.host.reading import read_whole

SECRET_LIMIT = 4096
SHORTEST_SECRET = 8


class NoSecret(Exception):
    """The file is gone, empty or no text."""


def read_secret(path: str) -> bytes:
    """Raises NoSecret."""
    try:
        secret = read_whole(path, SECRET_LIMIT).strip()
    except OSError as error:
        raise NoSecret(error.strerror or "it cannot be read") from None
    if len(secret) < SHORTEST_SECRET:
        raise NoSecret(f"expected at least {SHORTEST_SECRET} bytes")
    return secret


def checked_secret_file(flag: str, path: str | None) -> str:
    """The absolute path of a file that holds a secret now; "" for none. Raises UsageError."""
    if not path:
        return ""
    try:
        read_secret(path)
    except NoSecret as error:
        raise UsageError(f"{flag}: {path}: {error}") from None
    return os.path.abspath(path)
