"""Settings of notification sinks. Each is an option of `reconciler run`, an environment variable, and a field of the
sink's section in the machine's configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`kind`: a "path" is absolute in the configuration; a "secret" is the path of a file that others may not read."""

    flag: str
    metavar: str
    meaning: str
    kind: Literal["text", "path", "secret"] = "text"


@dataclass(frozen=True, kw_only=True)
class Section:
    """`settings` by the name of their field. The first one switches the sink on: a section cannot be without it."""

    name: str
    meaning: str
    settings: Mapping[str, Setting]
