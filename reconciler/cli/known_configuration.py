"""What the configuration said the last time: YAML and pydantic cost a start three times what `status` does.

It holds for the very same bytes and this version of the program. It decides whom this machine trusts as the file itself
does: so it lies in the user's own cache folder, is read with the same suspicion, and is not used where that home is
somebody else's (sudo may leave HOME as it was). Without it everything is read again, and that is all.
"""

from __future__ import annotations

import contextlib
import os
import sys

import reconciler
from reconciler.domain.digest import of_bytes
from reconciler.domain.errors import ReconcilerError
from reconciler.domain.facts import Limits, Traits
from reconciler.domain.value import as_dict
from reconciler.host import durable
from reconciler.host.sealed import Damaged, seal, unseal
from reconciler.host.trusted_file import read_trusted

Said = tuple[Traits, dict[str, str]]

# Raise it when the meaning of the configuration or of this form changes.
FORMAT = 1
LONGEST = 1 << 20  # bytes
PLACE = ("reconciler", "config.json")


def recall(data: bytes) -> Said | None:
    """What `data` was understood as; None where that is not known."""
    path = _path()
    try:
        known = unseal(read_trusted(path, LONGEST)) if path else {}
        if known.get("of") != _key(data):
            return None
        said = known["traits"]
        whole = {"limits": Limits(**said["limits"]), "source_roots": tuple(said["source_roots"])}
        return Traits(**said | whole), known["settings"]
    except (OSError, Damaged, ReconcilerError, LookupError, TypeError, ValueError, AttributeError):
        return None


def remember(data: bytes, traits: Traits, settings: dict[str, str]) -> None:
    path = _path()
    if path:
        known = {"of": _key(data), "traits": as_dict(traits), "settings": settings}
        with contextlib.suppress(OSError, ReconcilerError):
            durable.make_folder(os.path.dirname(path))
            durable.write_file(path, seal(known), 0o600)


def _key(data: bytes) -> list[str]:
    return [of_bytes(data), reconciler.__version__, str(FORMAT)]


def _path() -> str:
    """ "" where there is no place of our own."""
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    home = os.path.expanduser("~")
    if os.path.isabs(named):
        return os.path.join(named, *PLACE) if _is_ours(named) else ""
    return os.path.join(home, ".cache", *PLACE) if _is_ours(home) else ""


def _is_ours(folder: str) -> bool:
    try:
        return os.path.isabs(folder) and (os.name == "nt" or os.stat(folder).st_uid == os.geteuid())
    except OSError:
        return False
