"""Which runtime is installed here, told without loading any of it: what another one measured counts for nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.domain.measured import MeasurementSet
from reconciler.host.places import installed_versions

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
    installed = {**(installed_versions(seen) if seen else {}), **{p: v for p, v in assumed.items() if p in seen}}
    outdated = {
        digest: runtime
        for digest, runtime in loads.items()
        if any(installed.get(package, version) != version for package, version in runtime.items())
    }
    # guard: numbers of another runtime are not judged
    kept = {digest: one for digest, one in known.releases.items() if digest not in outdated}
    return Runtime(known=replace(known, releases=kept), installed=installed, outdated=outdated)
