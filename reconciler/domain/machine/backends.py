"""What a machine's configuration says of the runtimes that serve. Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """One runtime. `name`: which kind ("": the default one). `catalog` is the folder of its names; "": that of the
    application `app`. `sdk` is a folder with its packages, for one that cannot be in our environment.
    `provider_libraries` are files by execution provider, for Foundry Local 2.x."""

    name: str = ""
    catalog: str = ""
    app: str = ""
    sdk: str = ""
    provider_libraries: Mapping[str, str] = field(default_factory=dict)
