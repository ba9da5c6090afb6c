"""The JSON view of a fleet: a matrix of models and groups, a row for each machine, who serves which release, and what
gates measured across machines. Every renderer reads this and nothing else. Pure: the time is given.

A machine counts as ready for a model where it serves what git wants of it and its last pass said so. A report that is
asked for a signature and has none that counts is shown, and counts for nothing; so does a machine that is silent.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from reconciler.domain.machine_report import (
    AHEAD,
    READY,
    TOO_OLD,
    UNKNOWN_KEY,
    UNSIGNED,
    VERIFIED,
    GateReport,
    JudgedReport,
    MachineReport,
    VariantReport,
)
from reconciler.domain.plain_data import grouped
from reconciler.domain.rollout import Rollout
from reconciler.fleet.forge_links import Forge
from reconciler.fleet.inventory import Inventory
from reconciler.reports.rollout import rings_text, rollouts_view
from reconciler.reports.text import Shown, natural
from reconciler.reports.view import FORMAT_VERSION

SILENT = 86_400.0  # seconds
NO_GROUP = "-"
MISSING = "NeverReported"
OUTLIER = 3.0  # times the usual distance from the median
ALIKE = 0.02  # of the median: numbers nearer than that are one
FEWEST = 5  # machines, to speak of an outlier
MOST_NAMED = 10
AT_WORK = frozenset({"Converting", "Fetching", "Measuring", "Pulling", "Taking"})  # reasons of Ready


@dataclass(frozen=True, kw_only=True)
class SeenMachine:
    """The newest report of a machine that is worth most. `order` tells the newer of two."""

    judged: JudgedReport
    report: MachineReport
    inventory: Inventory
    order: int = 0


@dataclass(frozen=True, kw_only=True)
class FleetFacts:
    """`commits` are those of the followed branch, the newest first, without their algorithm; empty where no repository
    was named. `signed`: keys were given, so a report without a signature that counts is doubted; `known` are the names
    of machines with a key, `missing` those of them without any report. `manifests` are files by model."""

    machines: Sequence[SeenMachine]
    problems: Sequence[JudgedReport] = ()
    commits: Sequence[str] = ()
    repository: str = ""
    branch: str = ""
    signed: bool = False
    group_by: str = ""
    rollouts: Sequence[Rollout] = ()
    known: Collection[str] = ()
    missing: Collection[str] = ()
    manifests: Mapping[str, str] = field(default_factory=dict)


def fleet_view(facts: FleetFacts, now: str) -> Shown:
    forge = Forge(facts.repository, facts.branch)
    places = {commit: at for at, commit in enumerate(facts.commits)}
    counting = [one for one in facts.machines if not _is_doubted(one.judged, signed=facts.signed)]
    names = {*facts.known, *(one.report.machine for one in counting)}
    rings = rings_text(facts.rollouts, [one.report for one in facts.machines], names, facts.missing)
    rows = [_machine(one, facts, forge, places, rings, now) for one in facts.machines]
    rows += [_missing(name, facts, rings) for name in facts.missing]
    rows.sort(key=lambda row: (-_badness(row), natural(row["name"])))
    return {
        "formatVersion": FORMAT_VERSION,
        "generated": now,
        "repository": {
            "url": facts.repository,
            "branch": facts.branch,
            "head": facts.commits[0] if facts.commits else "",
            "web": forge.home,
        },
        "groupBy": facts.group_by,
        "totals": _totals(rows),
        **_matrix(rows, facts, forge),
        "releases": _releases(rows, known=bool(places)),
        "rollouts": rollouts_view(facts.rollouts, [one.report for one in counting], names, now, facts.missing),
        "gates": _gates(counting),
        "machines": rows,
        "problems": [{"entry": one.entry, "standing": one.standing, "why": one.why} for one in facts.problems],
    }


def _machine(
    one: SeenMachine, facts: FleetFacts, forge: Forge, places: Mapping[str, int], rings: Mapping[str, str], now: str
) -> Shown:
    report, inventory = one.report, one.inventory
    age = report.age(now)
    silent = age is None or not -AHEAD <= age <= SILENT
    doubted = _is_doubted(one.judged, signed=facts.signed)
    commit = report.commit.rpartition(":")[2]
    behind = places.get(commit) if commit else None
    variants = [_variant(held, counts=not doubted and not silent) for held in report.variants]
    return {
        "name": report.machine,
        "labels": dict(report.labels),
        "group": report.labels.get(facts.group_by, NO_GROUP) if facts.group_by else "all",
        "ring": rings.get(report.machine, ""),
        "lastSeen": report.generated,
        "ageSeconds": age,
        "silent": silent,
        "standing": one.judged.standing,
        "why": one.judged.why,
        "commit": commit,
        "behind": behind,
        "compare": forge.compare(commit) if behind else "",
        "state": _state(variants, inventory, doubted=doubted, silent=silent, standing=one.judged.standing),
        "variants": variants,
        "conditions": [
            {"type": c.type, "reason": c.reason, "message": c.message}
            for c in inventory.conditions
            if c.status != READY
        ],
        "disk": {"freeBytes": inventory.disk.free_bytes, "totalBytes": inventory.disk.total_bytes},
        "runtime": _runtime(inventory),
        "reconciler": inventory.reconciler,
        "imported": inventory.imported.when if inventory.imported is not None else "",
        "leftOut": list(report.left_out),
    }


def _missing(name: str, facts: FleetFacts, rings: Mapping[str, str]) -> Shown:
    """A machine whose key is known, and that has not reported."""
    nothing = dict.fromkeys(("lastSeen", "why", "commit", "compare", "runtime", "reconciler", "imported"), "")
    return {
        **nothing,
        "name": name,
        "labels": {},
        "group": NO_GROUP if facts.group_by else "all",
        "ring": rings.get(name, ""),
        "ageSeconds": None,
        "silent": True,
        "standing": MISSING,
        "behind": None,
        "state": {"kind": "silent", "reason": MISSING, "message": "it has never reported"},
        "variants": [],
        "conditions": [],
        "disk": {"freeBytes": 0, "totalBytes": 0},
        "leftOut": [],
    }


def _is_doubted(judged: JudgedReport, *, signed: bool) -> bool:
    """Without keys nothing is doubted but what was certainly made by another."""
    if judged.standing in (VERIFIED, TOO_OLD):
        return False
    return signed or judged.standing not in (UNSIGNED, UNKNOWN_KEY)


def _variant(one: VariantReport, *, counts: bool) -> Shown:
    return {
        "variant": one.variant,
        "model": one.model,
        "id": f"{one.variant}:{one.number}" if one.number else "",
        "serves": one.serves,
        "wanted": one.wanted,
        "since": one.since,
        "ready": counts and _is_ready(one),
        "status": one.ready,
        "reason": one.reason,
        "message": one.message,
        "failedGates": [_gate(gate) for gate in one.failed_gates],
        "refused": [
            {"release": held.release, "outcome": held.outcome, "message": held.message, "when": held.when}
            for held in one.refused
        ],
    }


def _is_ready(one: VariantReport) -> bool:
    """Earlier versions do not say what is wanted."""
    return one.ready == READY and bool(one.serves) and (not one.wanted or one.converged)


def _gate(one: GateReport) -> Shown:
    return {"gate": one.gate, "measure": one.measure, "number": one.number, "bar": one.bar, "message": one.message}


def _state(variants: Sequence[Shown], inventory: Inventory, *, doubted: bool, silent: bool, standing: str) -> Shown:
    """The worst that there is to say of a machine: `kind` is doubted | notReady | silent | working | empty | ready."""
    if doubted:
        return {"kind": "doubted", "reason": standing, "message": ""}
    wrong = [one for one in variants if one["status"] != READY or not _serves_wanted(one)]
    worst = min(wrong, key=_is_at_work, default=None)
    if silent:
        return {"kind": "silent", "reason": worst["reason"] if worst else "", "message": ""}
    if worst is not None and not _is_at_work(worst):
        message = worst["message"] or worst["reason"] or "it serves another release than git wants"
        return {"kind": "notReady", "reason": worst["reason"] or "Behind", "message": f"{worst['variant']}: {message}"}
    trouble = next((one for one in inventory.conditions if one.status == "False"), None)
    if trouble is not None:
        return {"kind": "notReady", "reason": trouble.reason, "message": trouble.message}
    if worst is not None:
        message = f"{worst['variant']}: {worst['message'] or worst['reason']}"
        return {"kind": "working", "reason": worst["reason"], "message": message}
    return {"kind": "ready" if variants else "empty", "reason": "", "message": ""}


def _is_at_work(one: Shown) -> bool:
    """Or it waits for its time, and needs nobody."""
    return one["reason"] in AT_WORK or one["reason"].startswith("Awaiting")


def _serves_wanted(one: Shown) -> bool:
    return bool(one["serves"]) and one["wanted"] in ("", one["serves"])


_BADNESS = {"doubted": 5, "notReady": 4, "silent": 3, "working": 2, "empty": 1, "ready": 0}


def _badness(row: Shown) -> int:
    return _BADNESS[row["state"]["kind"]]


def _runtime(inventory: Inventory) -> str:
    held = inventory.runtime or {
        name: version for name, version in inventory.versions.items() if name.startswith("foundry-local")
    }
    return ", ".join(f"{name} {version}" for name, version in sorted(held.items()))


def _totals(rows: Sequence[Shown]) -> Shown:
    kinds = [row["state"]["kind"] for row in rows]
    return {
        "machines": len(rows),
        **{kind: kinds.count(kind) for kind in _BADNESS},
        "behind": sum(bool(row["behind"]) for row in rows),
    }


def _matrix(rows: Sequence[Shown], facts: FleetFacts, forge: Forge) -> Shown:
    """A row for each model, those with the smallest share that is ready first."""
    groups = sorted({row["group"] for row in rows}, key=natural)
    cells: dict[str, dict[str, list[int]]] = {}
    for row in rows:
        for model, held in grouped(row["variants"], lambda one: str(one["model"])).items():
            cell = cells.setdefault(model, {}).setdefault(row["group"], [0, 0])
            cell[0] += all(one["ready"] for one in held)
            cell[1] += 1
    found: list[Shown] = [
        {
            "model": model,
            "ready": sum(cell[0] for cell in held.values()),
            "all": sum(cell[1] for cell in held.values()),
            "cells": [
                {"group": group, "ready": held[group][0], "all": held[group][1]} for group in groups if group in held
            ],
            "edit": forge.edit(facts.manifests.get(model, "")),
        }
        for model, held in cells.items()
    ]
    found.sort(key=lambda one: (one["ready"] / one["all"], -one["all"], one["model"]))
    return {"groups": groups, "matrix": found}


def _releases(rows: Sequence[Shown], *, known: bool) -> list[Shown]:
    """Each release that anything serves, with how many machines, and whether git still wants it anywhere; `onlyBehind`
    where those that want it are all behind, as far as the branch is `known`. What is doubted says nothing."""
    counting = [row for row in rows if row["state"]["kind"] != "doubted"]
    held = [(one, row["name"]) for row in counting for one in row["variants"]]
    wanted = _wanted(counting)
    newest = _wanted(row for row in counting if row["behind"] == 0) if known else wanted
    variants = {variant for variant, _ in wanted}
    found = [
        {
            "variant": variant,
            "release": release,
            "machines": len(names),
            "wanted": (variant, release) in wanted if variant in variants else None,
            "onlyBehind": (variant, release) in wanted - newest,
            "some": names[:MOST_NAMED],
        }
        for (variant, release), names in _named(held).items()
    ]
    return sorted(found, key=lambda one: (one["variant"], one["wanted"] is not False, -one["machines"], one["release"]))


def _wanted(rows: Iterable[Shown]) -> set[tuple[str, str]]:
    return {(one["variant"], one["wanted"]) for row in rows for one in row["variants"] if one["wanted"]}


def _named(held: Iterable[tuple[Shown, str]]) -> dict[tuple[str, str], list[str]]:
    names: dict[tuple[str, str], list[str]] = {}
    for one, name in held:
        if one["serves"]:
            names.setdefault((one["variant"], one["serves"]), []).append(name)
    return names


def _gates(machines: Sequence[SeenMachine]) -> list[Shown]:
    numbers: dict[tuple[str, str, str], list[tuple[float, str, GateReport]]] = {}
    for one in machines:
        for variant in one.report.variants:
            for gate in variant.gates:
                if gate.number is not None:
                    key = (variant.variant, gate.gate, gate.measure)
                    numbers.setdefault(key, []).append((gate.number, one.report.machine, gate))
    return [_numbers(key, sorted(found, key=lambda each: each[:2])) for key, found in sorted(numbers.items())]


def _numbers(key: tuple[str, str, str], found: list[tuple[float, str, GateReport]]) -> Shown:
    """From the smallest; `outliers` are far from what is usual across machines, the farthest first."""
    variant, gate, measure = key
    low, high = found[0], found[-1]
    return {
        "variant": variant,
        "gate": gate,
        "measure": measure,
        "machines": len(found),
        "failed": sum(one.status == "Failed" for _, _, one in found),
        "bar": next((one.bar for _, _, one in found if one.bar is not None), None),
        "lowest": {"machine": low[1], "number": low[0]},
        "median": median(number for number, _, _ in found),
        "highest": {"machine": high[1], "number": high[0]},
        "outliers": [{"machine": name, "number": number} for number, name in _outliers(found)],
    }


def _outliers(found: Sequence[tuple[float, str, GateReport]]) -> Iterator[tuple[float, str]]:
    middle = median(number for number, _, _ in found)
    usual = max(median(abs(number - middle) for number, _, _ in found), abs(middle) * ALIKE)
    if len(found) < FEWEST or usual <= 0.0:
        return
    far = [(number, name) for number, name, _ in found if abs(number - middle) > OUTLIER * 1.4826 * usual]
    yield from sorted(far, key=lambda one: -abs(one[0] - middle))[:MOST_NAMED]
