"""What lies on the disk of a machine that nothing needs, said once: a kind, which, how many bytes, why; and what is
kept, with why. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.domain.plain_data import as_dict
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.units import size_text
from reconciler.reports.view import FORMAT_VERSION

# A closed set, shown in docs/disk.md (a test compares).
KINDS = {
    "artifact": "a converted model that no manifest declares, no release is served from and no roll-back would want",
    "blob": "bytes in the store that no artifact names",
    "source": "weights from the hub that no manifest pins",
    "export": "a model folder of another commit, written out of the repository",
    "quarantine": "foreign files that were moved aside, after their time",
    "half-made": "what a process that died had begun: staging, trash, unfinished writes and fetches",
    "log": "the log of a conversion, older than --older-than and not among the newest ten",
    "set-aside": "a damaged document that was set aside, older than --older-than",
}
FREED, FAILED, KEPT, WOULD = "freed", "failed", "kept", "would free"


@dataclass(frozen=True, kw_only=True)
class Item:
    """`what` is a path below the root or a digest; `bytes` what freeing it gives back; `status` one of the four."""

    kind: str
    what: str
    bytes: int
    why: str
    status: str = WOULD


def garbage_view(items: Iterable[Item], *, dry_run: bool) -> dict[str, Any]:
    items = list(items)
    going = [item for item in items if item.status in (FREED, WOULD)]
    return {
        "formatVersion": FORMAT_VERSION,
        "dryRun": dry_run,
        "bytes": sum(item.bytes for item in going),
        "items": [as_dict(item) for item in items if item.status != KEPT],
        "kept": [as_dict(item) for item in items if item.status == KEPT],
    }


def total(view: Mapping[str, Any]) -> str:
    going = [item for item in view["items"] if item["status"] != FAILED]
    left = [item for item in view["items"] if item["status"] == FAILED]
    verb = "would be freed" if view["dryRun"] else "freed"
    said = f"{len(going)} thing(s), {size_text(view['bytes'])} {verb}" if going else "nothing to free"
    return f"{said}; {len(left)} could not be freed\n" if left else f"{said}\n"


def line(item: Mapping[str, Any]) -> str:
    said = f"{item['status']} {item['kind']} {item['what']} ({size_text(item['bytes'])}): {item['why']}"
    return for_terminal(said).replace("\n", " ") + "\n"
