"""Reads Foundry Local's local catalog from its index file, and who holds its lock: without the SDK and without taking
the lock.

The index is only ever replaced by rename, so a reader sees the old or the new one. It is never written here, and one
that cannot be read is left as it is (as by Foundry Local itself), because it also lists models that are not ours.
"""

import contextlib
import errno
import json
import os
import re
import sys
import time
from functools import lru_cache

from reconciler.domain.errors import CatalogBroken
from reconciler.domain.observed import Registration
from reconciler.domain.text.escape import one_line
from reconciler.host.reading import read_whole

INDEX = "foundry.local.modelinfo.json"
LOCK = "foundry.local.modelinfo.lock"

# Version 2 is what SDK 2.1 and 2.2 write. Version 1 predates our first release, so nothing in it is ours; SDK
# 2.2 rewrites it as version 2. Version 3 exists only in a newer SDK, which 2.2.1 cannot read either.
_KNOWN_VERSIONS = (1, 2)

# What the SDK takes for an id. One that it refuses makes every call of its fail.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*:(0|[1-9][0-9]{0,9})")
LARGEST_NUMBER = (1 << 31) - 1

LOCKS = "/proc/locks"
LOOK_AGAIN = 0.25  # seconds


def read_index(cache_dir: str) -> tuple[Registration, ...]:
    """In the order of the file; none without a file. Raises CatalogBroken."""
    path = os.path.join(cache_dir, INDEX)
    try:
        text = read_whole(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _broken(path, error.strerror or str(error), _HINTS.get(error.errno or 0, "")) from None
    try:
        return _read(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _broken(path, f"{type(error).__name__}: {error}") from None


@lru_cache(maxsize=2)
def _read(text: bytes) -> tuple[Registration, ...]:
    """The same bytes are read several times for each release, and list every name."""
    return _registrations(json.loads(text))


def _registrations(root: dict[str, object]) -> tuple[Registration, ...]:
    version, models = root["version"], root["models"]
    if version not in _KNOWN_VERSIONS:
        raise ValueError(f"version {version!r} is not known (known: 1, 2)")
    if not isinstance(models, list):
        raise TypeError("models is not a list")
    read = _legacy if version == 1 else _registration
    registrations = tuple(map(read, models))
    ids = {registration.id for registration in registrations}
    if len(ids) != len(registrations):
        raise ValueError("an id occurs twice")
    return registrations


def _registration(entry: dict[str, dict[str, object]]) -> Registration:
    info = entry["model_info"]
    properties = info.get("stringProperties") or {}
    if not isinstance(properties, dict):
        raise TypeError("stringProperties is not an object")
    return Registration(id=_id(info["id"]), path=_path(entry["model_path"]), properties=properties)


def _legacy(entry: dict[str, object]) -> Registration:
    return Registration(id=_id(entry["model_id"]), path=_path(entry["model_path"]))


def _id(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("an id is not text")
    number = value.rpartition(":")[2]
    if not _ID.fullmatch(value) or int(number) > LARGEST_NUMBER:
        raise ValueError(f"{value[:80]!r} is not an id")
    return value


def _path(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a model_path is not text")
    return value


_HINTS = {
    errno.EACCES: "let this user read it and its folder, run as the user that owns it, or name another cache (--cache)",
    errno.ENOTDIR: "a file stands where the cache should be: name Foundry Local's model_cache_dir with --cache",
}


def _broken(path: str, reason: str, hint: str = "") -> CatalogBroken:
    return CatalogBroken(
        f"{path}: Foundry Local's catalog cannot be read ({one_line(reason)})",
        hint=hint
        or "stop: nothing is changed until it is readable again. It is left as it is. If a newer Foundry Local wrote "
        "it, use that one. If it is damaged, remove it: the next pass registers our models again; other applications "
        "have to register theirs in this cache anew",
    )


def lock_holder(cache_dir: str) -> str:
    """`pid 123 (name)`; "" when the catalog's lock is free, and outside Linux, which alone tells. Any application that
    shares the cache may hold it; meanwhile every call of every other one waits, up to ten minutes."""
    if not sys.platform.startswith("linux"):
        return ""
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = os.stat(os.path.join(cache_dir, LOCK))
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        with open(LOCKS, encoding="ascii") as file:
            for words in map(str.split, file):
                if words[1] == "FLOCK" and words[5] == place:
                    return f"pid {words[4]}{_name_of(words[4])}"
    return ""


def wait_until_free(cache_dir: str, seconds: float) -> str:
    """The holder that is left after that long; "" as soon as the lock is free."""
    until = time.monotonic() + seconds
    while (holder := lock_holder(cache_dir)) and time.monotonic() < until:
        time.sleep(LOOK_AGAIN)
    return holder


def _name_of(pid: str) -> str:
    """ "" for a process of another namespace."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f" ({one_line(file.read().strip())})"
    except OSError:
        return ""
