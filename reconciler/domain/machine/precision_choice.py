"""What `precisions: auto` decides by: what one precision of a model needs, and what a machine has for it. Values.

A machine's figures are those that stay: all of its memory and its disk, never what is free just now. So its choice
stays too, and can be made elsewhere from its inventory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.domain.machine.facts import Facts, StorageLimits, conversion_limit, disk_capacity, serves_only
from reconciler.domain.machine.registries import REGISTRY_ONLY, ConvertMode


@dataclass(frozen=True, kw_only=True)
class PrecisionNeeds:
    """Bytes, predicted: `memory` of the process that serves it, of which `cache` are the keys and values of the whole
    context; `disk` of its files; `read` what is read of them for each token. `conversion_memory` and `conversion_disk`
    only where it is made."""

    memory: int
    cache: int
    disk: int
    read: int
    conversion_memory: int
    conversion_disk: int
    provider: str


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Bytes that a machine has for one model: 0 where that is unknown. `conversion_memory` is what one conversion may
    hold; `converts` is whether it makes artifacts itself."""

    memory: int
    disk: int
    cpus: int
    providers: tuple[str, ...]
    converts: bool
    conversion_memory: int


def capacity(facts: Facts, disk: int, limits: StorageLimits, convert: ConvertMode, conversion_memory: int) -> Capacity:
    """Of a machine with these facts and a file system of `disk` bytes. `conversion_memory` is as it is configured."""
    return Capacity(
        memory=facts.memory_bytes,
        disk=disk_capacity(disk, limits),
        cpus=facts.cpus,
        providers=facts.execution_providers,
        converts=convert != REGISTRY_ONLY and not serves_only(facts.os, facts.arch),
        conversion_memory=conversion_limit(conversion_memory, facts.memory_bytes),
    )


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """A model that says `precisions: auto`, before a machine has chosen among those `allowed`. `ruled_out` are those of
    them that no machine can take, with why. The rest is where the manifest says so."""

    file: str
    line: int
    allowed: tuple[str, ...]
    ruled_out: Mapping[str, str] = field(default_factory=dict)
