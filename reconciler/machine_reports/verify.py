"""What a report is worth: read strictly, its signature compared with the machine's key, and its counter with the newest
that was seen of this machine. One that is worth nothing harms no other.

    read = read_report("edge-7", data, signature, keys, seen={"edge-7": 1790000000}, now=now(), longest=86400)
    if read.judged.standing == VERIFIED: ...read.judged.report
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.domain import digest as digests
from reconciler.domain.machine_report import (
    AHEAD,
    FORGED,
    REPLAYED,
    TOO_OLD,
    UNKNOWN_KEY,
    UNREADABLE,
    UNSIGNED,
    VERIFIED,
    JudgedReport,
    MachineReport,
    Standing,
)
from reconciler.fleet.inventory import Inventory
from reconciler.fleet.inventory_form import InventoryInvalid, read_inventory
from reconciler.fleet.machine_summary import report_of
from reconciler.fleet.travelling import LONGEST_REPORT
from reconciler.host.clock import unix
from reconciler.machine_reports.keys import KeyFolder
from reconciler.machine_reports.statement import NotAStatement, read_statement
from reconciler.registry import bundle
from reconciler.registry.bundle import Envelope, NotABundle
from reconciler.registry.signing_keys import KeyUnusable, VerificationKey

NOTHING_SEEN: Mapping[str, int] = {}


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """A judged report with the whole inventory that it was made of, None where it is UNREADABLE; `public` is the key
    that its statement names, for trust on first use."""

    judged: JudgedReport
    inventory: Inventory | None = None
    public: bytes = b""


def read_report(
    entry: str,
    data: bytes,
    signature: bytes | None,
    keys: KeyFolder,
    *,
    seen: Mapping[str, int] = NOTHING_SEEN,
    now: str,
    longest: float | None = None,
) -> ReadReport:
    """`seen` is the highest order (`order_of`) of each machine so far; `longest` the age that is accepted, in seconds,
    None for any."""
    try:
        inventory = read_inventory(data, entry)
    except InventoryInvalid as error:
        why = str(error).removeprefix(f"{entry}: ")
        return ReadReport(judged=JudgedReport(entry=entry, standing=UNREADABLE, why=why))
    # guard: a report that travels has a limit
    if inventory.counter and len(data) > LONGEST_REPORT:
        why = f"expected at most {LONGEST_REPORT} bytes, got {len(data)}"
        return ReadReport(judged=JudgedReport(entry=entry, standing=UNREADABLE, why=why))
    report = report_of(inventory)
    standing, why, public = _signed(report, data, signature, keys)
    if standing == VERIFIED:
        standing, why = _fresh(report, seen, now, longest)
    judged = JudgedReport(entry=entry, standing=standing, why=why, report=report)
    return ReadReport(judged=judged, inventory=inventory, public=public)


def order_of(report: MachineReport) -> int:
    """What only grows from one report of a machine to the next. A receipt has no counter, but a time."""
    return report.counter or int(unix(report.generated) or 0)


def _signed(
    report: MachineReport, data: bytes, signature: bytes | None, keys: KeyFolder
) -> tuple[Standing, str, bytes]:
    """What its signature makes of it, why, and the key that its statement names where none is known."""
    if signature is None:
        return UNSIGNED, "it has no signature", b""
    try:
        envelope = bundle.read(signature)
        stated = read_statement(envelope.payload)
        key = keys.find(report.machine)
    except (NotABundle, NotAStatement) as error:
        return FORGED, f"its signature does not count: {error}", b""
    except KeyUnusable as error:
        where = os.path.join(keys.folder, "")  # what a page shows tells nothing of the disk of whoever made it
        return UNKNOWN_KEY, str(error).replace(where, ""), b""
    # guard: a report's signature is about its bytes
    if digests.of_bytes(data) not in stated.digests:
        return FORGED, "its signature is about another report", b""
    if key is None:
        known = f"there is no key {os.path.basename(keys.path(report.machine))}"
        return UNKNOWN_KEY, known if keys.folder else "no keys of machines were given", stated.public
    return *_by(key, envelope), b""


def _by(key: VerificationKey, envelope: Envelope) -> tuple[Standing, str]:
    # guard: a report counts by its machine's own key
    if envelope.signed_by(key):
        return VERIFIED, ""
    name = os.path.basename(key.path)
    if envelope.key_id in key.names:
        return FORGED, f"its signature is not one of {name} over these bytes"
    return FORGED, f"it is signed by another key ({envelope.key_id or 'without a name'}) than {name}"


def _fresh(report: MachineReport, seen: Mapping[str, int], now: str, longest: float | None) -> tuple[Standing, str]:
    newest, order = seen.get(report.machine, 0), order_of(report)
    # guard: an old report is not taken for a new one
    if order < newest:
        return REPLAYED, f"its counter is {order}, and {newest} was seen before"
    if longest is None:
        return VERIFIED, ""
    age = report.age(now)
    if age is None or age < -AHEAD:
        return TOO_OLD, f"its time, {report.generated}, cannot be right"
    if age > longest:
        return TOO_OLD, f"it was made at {report.generated}"
    return VERIFIED, ""
