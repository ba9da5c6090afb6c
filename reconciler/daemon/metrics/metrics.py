"""/metrics: from what the daemon knows to families of samples. Each is described in docs/metrics.md. No label holds
what somebody outside could choose: variants are counted, never named (readyz names those that are not ready). Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.daemon.metrics.counters import Counted
from reconciler.daemon.metrics.exposition import Family, Sample
from reconciler.daemon.process import Process
from reconciler.daemon.state import RESULTS, State
from reconciler.domain.recorded import Condition
from reconciler.gates.judgement import GATES, VERDICTS
from reconciler.host.clock import unix
from reconciler.planner.conditions import TYPES
from reconciler.state.scrub_progress import Round, Scrubbed

# Of domain.changes.REASONS, those for which a variant waits or is kept as it is.
HELD = (
    "BackoffActive",
    "ConfirmationNeeded",
    "DiskInsufficient",
    "FailedBefore",
    "GateFailed",
    "NameTaken",
    "NothingDeclared",
    "Protected",
    "Suspended",
)
_STATUSES = ("True", "False", "Unknown")
_REVISION = re.compile(r"[0-9A-Za-z@:/+._-]{1,160}")


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Everything that one answer is made from."""

    state: State
    counted: Counted
    process: Process
    version: str
    patience: float
    store_bytes: int
    disk_free: int
    scrubbed: Scrubbed = Scrubbed()


def families(sight: Sight) -> Iterator[Family]:
    """In the order of docs/metrics.md."""
    yield from _passes(sight)
    yield from _models(sight)
    yield from _scrub(sight.scrubbed)
    yield from _source(sight.state)
    yield from _process(sight)


def _passes(sight: Sight) -> Iterator[Family]:
    state = sight.state
    yield _by(
        "reconciler_passes_total",
        "Passes by result.",
        "result",
        dict.fromkeys(RESULTS, 0) | dict(state.passes),
    )
    yield _histogram(sight.counted)
    yield _one(
        "reconciler_last_pass_timestamp_seconds",
        "When the last pass ended.",
        None if state.last_pass is None else state.last_pass.unix,
    )
    yield _by("reconciler_wakes_total", "What woke the loop, by reason.", "reason", state.wakes)
    steps = [
        Sample(labels={"action": action, "result": result}, value=count)
        for (action, result), count in sorted(sight.counted.steps.items())
    ]
    yield _counter("reconciler_steps_total", "Steps carried out, by action and result.", *steps)
    running = Counter(change.action for change in state.running)
    fetched = Sample(value=sight.counted.fetched)
    yield _counter("reconciler_fetched_bytes_total", "Bytes of weights fetched from a hub.", fetched)
    yield _one("reconciler_fetches_running", "Fetches that run now.", running["fetch"])
    yield _one("reconciler_conversions_running", "Conversions that run now.", running["convert"])
    yield _one("reconciler_loop_alive", "1 while the loop shows signs of life in time.", sight.patience > 0.0)


def _models(sight: Sight) -> Iterator[Family]:
    state = sight.state
    counts = Counter(
        (kind, one.status)
        for held in state.conditions.values()
        for kind, one in held.items()
        if kind in TYPES
    )
    samples = [
        Sample(labels={"condition": kind, "status": status}, value=counts[kind, status])
        for kind in TYPES
        for status in _STATUSES
    ]
    yield _gauge("reconciler_variants", "Declared or served variants, by condition and its status.", *samples)
    held = Counter(reason for conditions in state.conditions.values() for reason in _held(conditions))
    samples = [Sample(labels={"reason": reason}, value=held[reason]) for reason in HELD]
    yield _gauge("reconciler_variants_held", "Variants that are held back, by reason.", *samples)
    verdicts = Counter((one.gate, one.status) for told in state.verdicts.values() for one in told)
    samples = [
        Sample(labels={"gate": gate, "status": status}, value=verdicts[gate, status])
        for gate in GATES
        for status in VERDICTS
    ]
    yield _gauge("reconciler_gate_verdicts", "Bars of declared releases, by gate and verdict.", *samples)
    yield _one("reconciler_served_bytes", "Size of what is served.", sum(state.sizes.values()))
    yield _one("reconciler_store_bytes", "Size of the artifact store.", sight.store_bytes)
    yield _one("reconciler_disk_free_bytes", "Free on the file system of the root.", sight.disk_free)
    yield _one("reconciler_problems", "Problems in the manifests, as last read.", state.problems)
    yield _one(
        "reconciler_converged", "1 if the last pass left nothing to do.", state.last_result == "converged"
    )


def _scrub(scrubbed: Scrubbed) -> Iterator[Family]:
    last, under_way = scrubbed.last, scrubbed.now
    yield _one("reconciler_scrub_timestamp_seconds", "When every byte had last been read.", unix(last.ended))
    yield _one("reconciler_scrub_bytes", "Bytes that the last complete scrub read.", _of(last, last.checked))
    yield _one("reconciler_scrub_found", "Damaged files that it found.", _of(last, last.found))
    share = under_way.checked / max(under_way.total, 1)
    yield _one("reconciler_scrub_progress_ratio", "Of the scrub under way.", _of(under_way, min(share, 1.0)))


def _of(one: Round, figure: float) -> float | None:
    return figure if one.began else None


def _held(conditions: Mapping[str, Condition]) -> set[str]:
    """Each reason once, however many conditions give it."""
    return {conditions[kind].reason for kind in ("Ready", "Reconciling", "Stalled") if kind in conditions}


def _source(state: State) -> Iterator[Family]:
    revisions = {"attempted": state.attempted, "applied": state.applied}
    samples = [
        Sample(labels={"state": name, "revision": revision}, value=1)
        for name, revision in revisions.items()
        if _REVISION.fullmatch(revision)
    ]
    yield _gauge("reconciler_revision_info", "The revisions last attempted and last applied.", *samples)
    age = None if state.last_fetch is None else state.last_fetch.age
    yield _one("reconciler_fetch_age_seconds", "Since the repository last gave a good answer.", age)
    yield _one("reconciler_stale", "1 if the repository has been silent for too long.", state.stale)


def _process(sight: Sight) -> Iterator[Family]:
    build = Sample(labels={"version": sight.version, "python": sight.process.python}, value=1)
    yield _gauge("reconciler_build_info", "The version that runs.", build)
    cpu = Sample(value=sight.process.cpu_seconds)
    yield _counter("process_cpu_seconds_total", "CPU time of the daemon without its children.", cpu)
    yield _one(
        "process_resident_memory_bytes", "Memory of the daemon without its children.", sight.process.resident
    )
    yield _one("process_start_time_seconds", "When the daemon was started.", sight.state.started.unix)


def _histogram(counted: Counted) -> Family:
    buckets = [
        Sample(suffix="_bucket", labels={"le": repr(bound)}, value=count)
        for bound, count in counted.durations.items()
    ]
    return Family(
        name="reconciler_pass_duration_seconds",
        kind="histogram",
        help="How long passes took.",
        samples=(
            *buckets,
            Sample(suffix="_bucket", labels={"le": "+Inf"}, value=counted.passes),
            Sample(suffix="_sum", value=counted.seconds),
            Sample(suffix="_count", value=counted.passes),
        ),
    )


def _by(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> Family:
    samples = [Sample(labels={label: key}, value=count) for key, count in sorted(counts.items())]
    return _counter(name, meaning, *samples)


def _counter(name: str, meaning: str, *samples: Sample) -> Family:
    return Family(name=name, kind="counter", help=meaning, samples=samples)


def _gauge(name: str, meaning: str, *samples: Sample) -> Family:
    return Family(name=name, kind="gauge", help=meaning, samples=samples)


def _one(name: str, meaning: str, held: float | None) -> Family:
    """None: not known here, so nothing is said."""
    return _gauge(name, meaning, *([] if held is None else [Sample(value=held)]))
