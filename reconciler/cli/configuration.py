"""Find and read the configuration of this machine (docs/configuration.md).

What it says is kept here for the one command that this process runs. The environment is stronger than it, and a flag is
stronger than both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from reconciler.domain.errors import ManifestsInvalid, UsageError
from reconciler.domain.facts import Traits
from reconciler.host import places
from reconciler.host.trusted_file import read_trusted
from reconciler.manifests.machine_config import parse_config, settings_of, traits_of

VARIABLE = "RECONCILER_CONFIG"
LONGEST = 256 * 1024  # bytes of the file


class _Configured:
    """What this process runs with."""

    file = ""
    traits = Traits()
    settings: dict[str, str] = {}  # noqa: RUF012 - replaced as a whole, never changed


def load(arguments: Sequence[str]) -> None:
    """Before the parser is built, whose defaults it gives. `arguments` are searched for --config."""
    _Configured.file, _Configured.traits, _Configured.settings = "", Traits(), {}
    asked = _asked_for(arguments)
    path = _found() if asked is None else asked
    if path:
        _read(path)


def file() -> str:
    """ "" when there is none."""
    return _Configured.file


def traits() -> Traits:
    return _Configured.traits


def setting(variable: str, default: str = "") -> str:
    """Of the environment, else of the configuration, else `default`."""
    return os.environ.get(variable) or _Configured.settings.get(variable, default)


def settings() -> dict[str, str]:
    """What is set in the configuration or the environment, by the name of the environment's variable."""
    named = {name: said for name, said in os.environ.items() if name.startswith("RECONCILER_")}
    return {**_Configured.settings, **named}


def flag(variable: str) -> bool:
    return setting(variable) == "1"


def _asked_for(arguments: Sequence[str]) -> str | None:
    """Of --config FILE, --config=FILE or the environment; "" asks for none."""
    found = os.environ.get(VARIABLE)
    for at, one in enumerate(arguments):
        if one == "--":
            break
        if one == "--config" and at + 1 < len(arguments):
            found = arguments[at + 1]
        elif one.startswith("--config="):
            found = one.removeprefix("--config=")
    return found


def _found() -> str:
    return next((path for path in places.config_files() if os.path.lexists(path)), "")


def _read(path: str) -> None:
    try:
        data = read_trusted(path, LONGEST)
    except OSError as error:
        hint = f"name another with --config, or run without: {VARIABLE}= (empty)"
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}", hint=hint) from None
    _Configured.file = os.path.abspath(path)
    config, problems = parse_config(data, path)
    if config is None:
        raise ManifestsInvalid(problems)
    _Configured.traits, _Configured.settings = traits_of(config), settings_of(config)
