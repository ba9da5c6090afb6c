"""An inventory as a report that travels: at most 64 KiB, with a counter. What has no room is left out in a fixed order,
what only helps a prediction first and what a rollout decides by last, and the report names it. Pure.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from reconciler.domain import digest as digests
from reconciler.domain.machine_report import VariantReport
from reconciler.domain.text.escape import one_line
from reconciler.domain.verdict import SUCCESSFUL
from reconciler.fleet.inventory import DiskSpace, Inventory
from reconciler.fleet.inventory_form import inventory_view

LONGEST_REPORT = 64 << 10  # bytes
SHORT = 80  # characters of a message that is cut

# In this order.
_LEAVES: tuple[tuple[str, Callable[[Inventory], Inventory]], ...] = (
    ("timings", lambda one: replace(one, timings=())),
    ("hubSources", lambda one: replace(one, hub_sources={})),
    ("fidelity", lambda one: replace(one, fidelity=())),
    ("measured", lambda one: replace(one, measured=None)),
    ("outdated", lambda one: replace(one, outdated={})),
    ("failures", lambda one: replace(one, failures=())),
    ("artifacts", lambda one: replace(one, artifacts=())),
    ("sourceRoots", lambda one: replace(one, source_roots=())),
    ("variants", lambda one: replace(one, variants=())),
    ("suspensions", lambda one: replace(one, suspensions=())),
    ("long messages", lambda one: replace(one, summary=tuple(map(_in_short, one.summary)))),
    ("gates that pass", lambda one: replace(one, summary=tuple(map(_without_passes, one.summary)))),
)


def report_document(inventory: Inventory, counter: int, limit: int = LONGEST_REPORT) -> tuple[Inventory, bytes]:
    """What it says in the end, and its bytes."""
    inventory = replace(inventory, counter=counter)
    for one in _ever_smaller(inventory):
        data = written(one)
        if len(data) <= limit:
            break
    return one, data


def _ever_smaller(inventory: Inventory) -> Iterator[Inventory]:
    yield inventory
    for name, leave in _LEAVES:
        smaller = leave(inventory)
        if smaller != inventory:
            inventory = replace(smaller, left_out=(*smaller.left_out, name))
            yield inventory
    left_out, rows = inventory.left_out, _worst_first(inventory.summary)
    for kept in _ever_fewer(len(rows)):
        summary = tuple(sorted(rows[:kept], key=lambda one: one.variant))
        yield replace(inventory, summary=summary, left_out=(*left_out, f"{len(rows) - kept} variants that are ready"))
    yield replace(inventory, summary=(), left_out=(*left_out, f"all {len(rows)} variants"), labels={}, versions={})


def _ever_fewer(count: int) -> Iterator[int]:
    while count := count * 3 // 4:
        yield count


def _worst_first(rows: tuple[VariantReport, ...]) -> list[VariantReport]:
    return sorted(rows, key=lambda one: (one.is_ready, not one.failed_gates, one.variant))


def _in_short(one: VariantReport) -> VariantReport:
    return replace(
        one,
        message=one_line(one.message, SHORT),
        gates=tuple(replace(gate, message=one_line(gate.message, SHORT)) for gate in one.gates),
        refused=tuple(replace(each, message=one_line(each.message, SHORT)) for each in one.refused),
    )


def _without_passes(one: VariantReport) -> VariantReport:
    return replace(one, gates=tuple(gate for gate in one.gates if gate.status != SUCCESSFUL))


def written(inventory: Inventory) -> bytes:
    """A line for each field, so that a change is read well in git."""
    view = inventory_view(inventory)
    lines = [f"{json.dumps(name)}: {_compact(held)}" for name, held in view.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _compact(held: object) -> str:
    return json.dumps(held, separators=(",", ":"), ensure_ascii=False)


def fingerprint(inventory: Inventory) -> str:
    """The same for two reports that say the same, but for time, counter, free disk and durations."""
    still = replace(
        inventory, generated="", counter=0, timings=(), disk=DiskSpace(free_bytes=0, total_bytes=0), left_out=()
    )
    return digests.of_bytes(written(still))
