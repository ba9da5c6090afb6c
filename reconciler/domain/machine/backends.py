"""What a machine's configuration says of the runtimes that serve. Plain values."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """One runtime. `name`: which kind ("": the default one). `catalog` is the folder of its names; "": that of the
    application `app`. `sdk` is a folder with its packages, for one that cannot be in our environment."""

    name: str = ""
    catalog: str = ""
    app: str = ""
    sdk: str = ""
