"""The configuration of this machine (docs/configuration.md), as the running command uses it.

`load` finds and reads the file. `setting` gives the value of one setting: from the environment, else from the file. An
option on the command line overrides both.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.domain.errors import ManifestsInvalid, UsageError
from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.registries import REGISTRY_ONLY
from reconciler.domain.policy.policy import Policy
from reconciler.host import places
from reconciler.host.facts import serves_only
from reconciler.host.reading import read_trusted

VARIABLE = "RECONCILER_CONFIG"
CONFIG_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    file: str = ""
    traits: Traits = Traits()
    settings: Mapping[str, str] = field(default_factory=dict)


_loaded = _Loaded()


def load(arguments: Sequence[str]) -> None:
    """Read the configuration before the parser is built, because it gives the parser's defaults."""
    global _loaded  # noqa: PLW0603 - one command runs in one process
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", nargs="?", default=os.environ.get(VARIABLE))
    path = parser.parse_known_args(arguments)[0].config  # empty: no configuration is wanted
    if path is None:
        path = next((path for path in places.config_files() if os.path.lexists(path)), "")
    _loaded = _read(path) if path else _Loaded()


def file() -> str:
    """The absolute path of the configuration; empty when there is none."""
    return _loaded.file


def traits() -> Traits:
    """As written; but a machine that cannot convert takes what others built, whatever is written."""
    return replace(_loaded.traits, convert=REGISTRY_ONLY) if serves_only() else _loaded.traits


def setting(variable: str, default: str = "") -> str:
    return os.environ.get(variable) or _loaded.settings.get(variable, default)


def settings() -> dict[str, str]:
    """Every setting of the file and the environment, by the name of its environment variable."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("RECONCILER_")}
    return {**_loaded.settings, **environment}


def policies_of(path: str | None) -> tuple[Policy, ...]:
    """Those of another configuration than that of this machine; none for None."""
    return _read(path).traits.policies if path else ()


def _read(path: str) -> _Loaded:
    # Here: the schema with pydantic costs 0.3 s, and most machines have no configuration.
    from reconciler.daemon.notifications.notifications import sink_kinds
    from reconciler.manifests.machine.config import parse_config, settings_of, traits_of
    from reconciler.manifests.machine.policies import policies_in

    try:
        data = read_trusted(path, CONFIG_BYTES)
    except OSError as error:
        hint = f"name another with --config, or run without: {VARIABLE}= (empty)"
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}", hint=hint) from None
    config, problems = parse_config(data, path, [kind.section for kind in sink_kinds()])
    if config is None:
        raise ManifestsInvalid(problems)
    traits = replace(traits_of(config), policies=policies_in(config.policies, data, path))
    return _Loaded(file=os.path.abspath(path), traits=traits, settings=settings_of(config))
