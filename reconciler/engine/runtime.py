"""Which runtime is installed here, told without loading any of it: what another one measured counts for nothing."""

from __future__ import annotations

import os
import sys

from reconciler.core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.core.measured import Known

_ENDING = ".dist-info"


def of_this_runtime(known: Known) -> Known:
    """Without the releases that answered through other libraries than those installed now. Numbers about artifacts
    stay: the conversion tools that made them are part of the build key."""
    seen = {package for one in known.releases.values() if one.load for package in one.load.runtime}
    installed = versions(seen) if seen else {}
    kept = {
        digest: one
        for digest, one in known.releases.items()
        if one.load is None or all(installed.get(p, v) == v for p, v in one.load.runtime.items())
    }
    return replace(known, releases=kept)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """By package, for those found. `importlib.metadata` says the same, and costs a `plan` more than all its work."""
    wanted = {package.lower().replace("-", "_"): package for package in packages}
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith(_ENDING):
                package, _, version = name.removesuffix(_ENDING).rpartition("-")
                if (known := wanted.get(package.lower().replace(".", "_"))) is not None:
                    found.setdefault(known, version)
    return found
