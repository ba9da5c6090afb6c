"""What a machine's configuration allows of its disk, as types."""

from typing import Annotated

from pydantic import Field

from reconciler.manifests.field_types import Strict, as_size, expect, optional, size_guess

Size = Annotated[int, Field(ge=0, le=1 << 60), expect("a size such as 20GiB", as_size, guess=size_guess)]


class DiskLimits(Strict):
    disk_quota: Size | None = optional("What the root may use of the disk in all, such as 200GiB.")
    disk_reserve: Size | None = optional("What a conversion must leave free.")
