"""Which runtime is installed here, told without loading any of it: what another one measured counts for nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.domain.measured import MeasurementSet

_ENDING = ".dist-info"
NOTHING: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """`known` is what was measured with the libraries that are here, `installed` their versions, `outdated` the
    releases that were measured with others, and with which."""

    known: MeasurementSet
    installed: dict[str, str]
    outdated: dict[str, dict[str, str]]


def of_this_runtime(known: MeasurementSet, assumed: Mapping[str, str] = NOTHING) -> Runtime:
    """Without the releases that answered through other libraries than those installed now. Numbers about artifacts
    stay: the conversion tools that made them are part of the build key. `assumed` versions count as installed."""
    loads = {digest: one.load.runtime for digest, one in known.releases.items() if one.load is not None}
    seen = {package for runtime in loads.values() for package in runtime}
    installed = {**(versions(seen) if seen else {}), **{p: v for p, v in assumed.items() if p in seen}}
    outdated = {
        digest: runtime
        for digest, runtime in loads.items()
        if any(installed.get(package, version) != version for package, version in runtime.items())
    }
    kept = {digest: one for digest, one in known.releases.items() if digest not in outdated}
    return Runtime(known=replace(known, releases=kept), installed=installed, outdated=outdated)


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
