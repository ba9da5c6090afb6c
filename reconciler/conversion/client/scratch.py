"""Folders for one attempt, and the logs that are kept of the latest ones."""

import os
import tempfile
import time
from contextlib import suppress

from reconciler.domain.release import Recipe

KEPT_LOGS = 50
_PREFIX = "convert-"


def fresh_folder(parent: str, kind: str) -> str:
    os.makedirs(parent, exist_ok=True)
    return tempfile.mkdtemp(prefix=f"{kind}-", dir=parent)


def attempt_log(folder: str, recipe: Recipe) -> str:
    """The path of a new log. Names sort by time, so the oldest are the first to go."""
    os.makedirs(folder, exist_ok=True)
    older = sorted(name for name in os.listdir(folder) if name.startswith(_PREFIX))
    for name in older[: max(0, len(older) - KEPT_LOGS + 1)]:
        with suppress(OSError):  # another process was faster
            os.remove(os.path.join(folder, name))
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"{time.time_ns() % 10**9:09d}"
    key = recipe.build_key.rpartition(":")[2][:12]
    return os.path.join(folder, f"{_PREFIX}{moment}-{recipe.precision}-{key}.log")
