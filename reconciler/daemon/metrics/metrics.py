"""/metrics: from what the daemon knows to metric families, each described in docs/metrics.md. Pure.

No label holds a text that a manifest could choose: variants are counted, never named (/readyz names those not ready).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.daemon.metrics.counters import CounterValues
from reconciler.daemon.metrics.exposition import MetricFamily, MetricSample
from reconciler.daemon.metrics.process_usage import ProcessUsage
from reconciler.daemon.state import RESULTS, State
from reconciler.domain.recorded import Condition
from reconciler.domain.verdict import VERDICTS
from reconciler.gates.judgement import GATES
from reconciler.host.clock import unix
from reconciler.planner.conditions import TYPES
from reconciler.state.scrub_progress import Round, Scrubbed

# Of domain.reasons, those for which a variant waits or is kept as it is.
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
class MetricsInput:
    """Everything that one answer is made from."""

    state: State
    counters: CounterValues
    process: ProcessUsage
    version: str
    patience: float
    store_bytes: int
    disk_free: int
    scrubbed: Scrubbed = Scrubbed()


def families(given: MetricsInput) -> Iterator[MetricFamily]:
    """In the order of docs/metrics.md."""
    yield from _passes(given)
    yield from _models(given)
    yield from _scrub(given.scrubbed)
    yield from _source(given.state)
    yield from _process(given)


def _passes(given: MetricsInput) -> Iterator[MetricFamily]:
    state = given.state
    yield _by("reconciler_passes_total", "Passes by result.", "result", dict.fromkeys(RESULTS, 0) | dict(state.passes))
    yield _histogram(given.counters)
    yield _one(
        "reconciler_last_pass_timestamp_seconds",
        "When the last pass ended.",
        None if state.last_pass is None else state.last_pass.unix,
    )
    yield _by("reconciler_wakes_total", "What woke the loop, by reason.", "reason", state.wakes)
    steps = [
        MetricSample(labels={"action": action, "result": result}, value=count)
        for (action, result), count in sorted(given.counters.steps.items())
    ]
    yield _counter("reconciler_steps_total", "Steps carried out, by action and result.", *steps)
    running = Counter(change.action for change in state.running)
    fetched = MetricSample(value=given.counters.fetched)
    yield _counter("reconciler_fetched_bytes_total", "Bytes of weights fetched from a hub.", fetched)
    yield _one("reconciler_fetches_running", "Fetches that run now.", running["fetch"])
    yield _one("reconciler_conversions_running", "Conversions that run now.", running["convert"])
    yield _one("reconciler_loop_alive", "1 while the loop shows signs of life in time.", given.patience > 0.0)


def _models(given: MetricsInput) -> Iterator[MetricFamily]:
    state = given.state
    counts = Counter(
        (kind, one.status) for held in state.conditions.values() for kind, one in held.items() if kind in TYPES
    )
    samples = [
        MetricSample(labels={"condition": kind, "status": status}, value=counts[kind, status])
        for kind in TYPES
        for status in _STATUSES
    ]
    yield _gauge("reconciler_variants", "Declared or served variants, by condition and its status.", *samples)
    held = Counter(reason for conditions in state.conditions.values() for reason in _held(conditions))
    samples = [MetricSample(labels={"reason": reason}, value=held[reason]) for reason in HELD]
    yield _gauge("reconciler_variants_held", "Variants that are held back, by reason.", *samples)
    verdicts = Counter((one.gate, one.status) for verdicts in state.verdicts.values() for one in verdicts)
    samples = [
        MetricSample(labels={"gate": gate, "status": status}, value=verdicts[gate, status])
        for gate in (one.name for one in GATES)
        for status in VERDICTS
    ]
    yield _gauge("reconciler_gate_verdicts", "Bars of declared releases, by gate and verdict.", *samples)
    yield _one("reconciler_served_bytes", "Size of what is served.", sum(state.sizes.values()))
    yield _one("reconciler_store_bytes", "Size of the artifact store.", given.store_bytes)
    yield _one("reconciler_disk_free_bytes", "Free on the file system of the root.", given.disk_free)
    yield _one("reconciler_problems", "Problems in the manifests, as last read.", state.problems)
    yield _one("reconciler_converged", "1 if the last pass left nothing to do.", state.last_result == "converged")


def _scrub(scrubbed: Scrubbed) -> Iterator[MetricFamily]:
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


def _source(state: State) -> Iterator[MetricFamily]:
    revisions = {"attempted": state.attempted, "applied": state.applied}
    samples = [
        MetricSample(labels={"state": name, "revision": revision}, value=1)
        for name, revision in revisions.items()
        if _REVISION.fullmatch(revision)
    ]
    yield _gauge("reconciler_revision_info", "The revisions last attempted and last applied.", *samples)
    age = None if state.last_fetch is None else state.last_fetch.age
    yield _one("reconciler_fetch_age_seconds", "Since the repository last gave a good answer.", age)
    yield _one("reconciler_stale", "1 if the repository has been silent for too long.", state.stale)


def _process(given: MetricsInput) -> Iterator[MetricFamily]:
    build = MetricSample(labels={"version": given.version, "python": given.process.python}, value=1)
    yield _gauge("reconciler_build_info", "The version that runs.", build)
    cpu = MetricSample(value=given.process.cpu_seconds)
    yield _counter("process_cpu_seconds_total", "CPU time of the daemon without its children.", cpu)
    yield _one("process_resident_memory_bytes", "Memory of the daemon without its children.", given.process.resident)
    yield _one("process_start_time_seconds", "When the daemon was started.", given.state.started.unix)


def _histogram(counters: CounterValues) -> MetricFamily:
    buckets = [
        MetricSample(suffix="_bucket", labels={"le": repr(bound)}, value=count)
        for bound, count in counters.durations.items()
    ]
    return MetricFamily(
        name="reconciler_pass_duration_seconds",
        kind="histogram",
        help="How long passes took.",
        samples=(
            *buckets,
            MetricSample(suffix="_bucket", labels={"le": "+Inf"}, value=counters.passes),
            MetricSample(suffix="_sum", value=counters.seconds),
            MetricSample(suffix="_count", value=counters.passes),
        ),
    )


def _by(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> MetricFamily:
    samples = [MetricSample(labels={label: key}, value=count) for key, count in sorted(counts.items())]
    return _counter(name, meaning, *samples)


def _counter(name: str, meaning: str, *samples: MetricSample) -> MetricFamily:
    return MetricFamily(name=name, kind="counter", help=meaning, samples=samples)


def _gauge(name: str, meaning: str, *samples: MetricSample) -> MetricFamily:
    return MetricFamily(name=name, kind="gauge", help=meaning, samples=samples)


def _one(name: str, meaning: str, held: float | None) -> MetricFamily:
    """None: not known here, so the family is left out."""
    return _gauge(name, meaning, *([] if held is None else [MetricSample(value=held)]))
