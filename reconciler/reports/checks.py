"""What `verify`, `doctor` and `gc` found, as JSON views, and these views as text. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.domain.finding import Finding
from reconciler.domain.plain_data import as_dict
from reconciler.domain.text.quoting import count_of
from reconciler.domain.text.units import size_text
from reconciler.reports.text import Shown, terminal_lines
from reconciler.reports.view import FORMAT_VERSION, View

FREED, FAILED, KEPT, WOULD = "freed", "failed", "kept", "would free"


@dataclass(frozen=True)
class Diagnosis:
    """One check of `doctor`. `check` is a stable name; `advice` is empty where there is nothing to do."""

    check: str  # cache | packages | disk | memory | permissions | git | clock | lock | leftovers
    level: str  # ok | warning | error
    message: str
    advice: str = ""


def doctor_view(found: Iterable[Diagnosis]) -> View:
    return {"formatVersion": FORMAT_VERSION, "checks": [as_dict(one) for one in found]}


def doctor_text(view: Shown) -> str:
    lines = []
    for one in view["checks"]:
        lines.append(f"{one['level']:<7}  {one['check']:<11}  {one['message']}".replace("\n", " "))
        lines += [f"{'':<22}{one['advice']}"] if one["advice"] else []
    levels = [one["level"] for one in view["checks"]]
    return terminal_lines([*lines, "", ", ".join(count_of(levels.count(one), one) for one in ("error", "warning"))])


def findings_view(findings: Iterable[Finding]) -> View:
    return {"formatVersion": FORMAT_VERSION, "findings": [as_dict(finding) for finding in findings]}


def findings_text(view: Shown) -> str:
    """One line each, then what to do, each advice once."""
    found = view["findings"]
    lines = [f"{one['code']}: {one['where']}: {one['message']}".replace("\n", " ") for one in found]
    hints = dict.fromkeys(one["hint"] for one in found if one["hint"])
    return terminal_lines([*lines, *(f"hint: {hint}" for hint in hints)])


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that `gc` frees or keeps. `kind` is one of docs/disk.md; `what` is a path below the root or a digest;
    `bytes` what freeing it gives back; `status` one of the four."""

    kind: str
    what: str
    bytes: int
    why: str
    status: str = WOULD


def garbage_view(items: Iterable[Item], *, dry_run: bool) -> View:
    items = list(items)
    return {
        "formatVersion": FORMAT_VERSION,
        "dryRun": dry_run,
        "bytes": sum(item.bytes for item in items if item.status in (FREED, WOULD)),
        "items": [as_dict(item) for item in items if item.status != KEPT],
        "kept": [as_dict(item) for item in items if item.status == KEPT],
    }


def total(view: Shown) -> str:
    failed = sum(item["status"] == FAILED for item in view["items"])
    going = len(view["items"]) - failed
    verb = "would be freed" if view["dryRun"] else "freed"
    freed = f"{count_of(going, 'item')}, {size_text(view['bytes'])} {verb}" if going else "nothing to free"
    return f"{freed}; {failed} could not be freed\n" if failed else f"{freed}\n"


def line(item: Shown) -> str:
    text = f"{item['status']} {item['kind']} {item['what']} ({size_text(item['bytes'])}): {item['why']}"
    return terminal_lines([text.replace("\n", " ")])
