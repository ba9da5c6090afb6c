"""For Wine's Python: what Wine 8 has a name of and no working call, Python does otherwise when it does not find it; and
what is slow there is asked once."""

import _frozen_importlib_external as imports
import _winapi
import nt
import sys

# WMI does not answer, and the platform module waits for it twice, a second each.
sys.modules["_wmi"] = None  # type: ignore[assignment]
del _winapi.CopyFile2  # type: ignore[attr-defined]  # shutil's copies would end the process

# A stat asks another process for the volume, which takes a millisecond: a third of an import of five hundred modules.
stat = imports._path_stat  # type: ignore[attr-defined]
known: dict[str, object] = {}


def asked_once(path: str) -> object:
    if path not in known:
        known[path] = stat(path)
    return known[path]


imports._path_stat = asked_once  # type: ignore[attr-defined]
imports._path_isfile = nt._path_isfile  # type: ignore[attr-defined]
