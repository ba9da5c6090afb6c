"""Make this machine's inventory from what it observes, its records and its facts. Reads only."""

import os
from dataclasses import replace

import reconciler
from reconciler.backends.select import SERVING_TOOLS
from reconciler.conversion.toolchain import TOOLS
from reconciler.domain.machine_report import VariantReport
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Recorded
from reconciler.engine.machine import Machine, machine_facts, machine_name, observe, recall
from reconciler.fleet.inventory import DiskSpace, ImportedFrom, Inventory, Variant
from reconciler.fleet.inventory_facts import (
    artifacts_of,
    build_keys_of,
    export_fidelity,
    export_measurements,
    newest_timings,
    variants_of,
)
from reconciler.fleet.machine_summary import summary_of
from reconciler.host.clock import now
from reconciler.host.disk_usage import bytes_below, disk_total
from reconciler.host.places import installed_versions
from reconciler.sources.imported import imported_folder, read_mark


def take_inventory(machine: Machine) -> Inventory:
    observed = observe(machine)
    recorded = recall(machine, observed)
    traits, held = machine.traits, build_keys_of(observed, recorded)
    variants = variants_of(observed, recorded, machine.records.conditions())
    return Inventory(
        machine=machine_name(machine),
        generated=now(),
        reconciler=reconciler.__version__,
        labels=traits.labels,
        facts=machine_facts(machine),
        versions=installed_versions((*TOOLS, *SERVING_TOOLS)),
        source_roots=tuple(without_home(path) for path in traits.source_roots),
        disk=DiskSpace(
            free_bytes=observed.disk_free,
            total_bytes=disk_total(machine.layout.root),
            used_bytes=bytes_below(machine.layout.root),
        ),
        limits=traits.limits,
        convert=traits.convert,
        conversion_memory=traits.conversion_memory,
        attempted_revision=recorded.last_attempted_revision,
        applied_revision=recorded.last_applied_revision,
        variants=tuple(_without_home(one) for one in variants),
        artifacts=artifacts_of(observed),
        suspensions=recorded.suspensions,
        timings=newest_timings(recorded.timings),
        failures=tuple(replace(one, message=without_home(one.message)) for one in recorded.failures),
        hub_sources=observed.locked_sources,
        fidelity=export_fidelity(recorded.measured, held),
        measured=export_measurements(recorded.measured, held, machine.records.judged().values()),
        runtime=recorded.runtime,
        outdated=recorded.outdated,
        imported=_imported(machine),
        conditions=tuple(replace(one, message=without_home(one.message)) for one in recorded.conditions.values()),
        summary=_summary(machine, observed, recorded),
    )


def _summary(machine: Machine, observed: Observed, recorded: Recorded) -> tuple[VariantReport, ...]:
    records = machine.records
    found = summary_of(
        observed,
        recorded,
        records.conditions(),
        wanted=records.wanted(),
        judged=records.judged(),
        histories={name: records.history(name) for name in records.with_history()},
    )
    return tuple(_variant_without_home(one) for one in found)


def _variant_without_home(one: VariantReport) -> VariantReport:
    return replace(
        one,
        message=without_home(one.message),
        gates=tuple(replace(gate, message=without_home(gate.message)) for gate in one.gates),
        refused=tuple(replace(each, message=without_home(each.message)) for each in one.refused),
    )


def _imported(machine: Machine) -> ImportedFrom | None:
    mark = read_mark(imported_folder(machine.layout))
    return ImportedFrom(archive=mark.archive, revision=mark.revision, when=mark.when) if mark is not None else None


def without_home(text: str) -> str:
    """Replaces the home folder by `~`, which hides the name of the user."""
    home = os.path.expanduser("~")
    return text.replace(home, "~") if len(home) > 1 else text


def _without_home(one: Variant) -> Variant:
    return replace(one, conditions=tuple(replace(c, message=without_home(c.message)) for c in one.conditions))
