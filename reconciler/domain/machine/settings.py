"""Settings of a part that can be added, such as a notification sink. Each is an option of `reconciler run`, an
environment variable, and a field of the part's section in the machine's configuration."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`metavar` FILE stands for a file that holds a secret; in the configuration its path is absolute."""

    flag: str
    metavar: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """`settings` by the name of their field. The first one switches the part on: a section cannot be without it."""

    name: str
    meaning: str
    settings: Mapping[str, Setting]


def environment_of(flag: str) -> str:
    """The environment variable of an option."""
    return "RECONCILER_" + flag.removeprefix("--").replace("-", "_").upper()
