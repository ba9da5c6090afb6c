"""Settings of notification sinks. Each is an option of `reconciler run`, an environment variable, and a field of the
sink's section in the machine's configuration."""

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
    """`settings` by the name of their field. The first one switches the sink on: a section cannot be without it."""

    name: str
    meaning: str
    settings: Mapping[str, Setting]
