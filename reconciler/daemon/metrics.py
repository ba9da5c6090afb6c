"""/metrics: from what the daemon knows to metric families, each described in docs/metrics.md, and from these to a page
in Prometheus' text format, version 0.0.4. Pure.

No label holds a text that a manifest could choose: variants are counted, never named (/readyz names those not ready).
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler import __version__
from reconciler.daemon.state import BUCKETS, RESULTS, State
from reconciler.domain.reasons import HOLDS
from reconciler.domain.recorded import Condition
from reconciler.domain.verdict import VERDICTS
from reconciler.gates.judgement import GATES
from reconciler.host.clock import unix
from reconciler.planner.conditions import TYPES
from reconciler.state.progress import Reported, Round, Scrubbed

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_IN_HELP = str.maketrans({"\\": "\\\\", "\n": "\\n"})
_IN_LABEL = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})

_STATUSES = ("True", "False", "Unknown")
_REVISION = re.compile(r"[0-9A-Za-z@:/+._-]{1,160}")


@dataclass(frozen=True, kw_only=True)
class MetricSample:
    """`suffix` is for what makes up a histogram: `_bucket`, `_sum`, `_count`."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, kw_only=True)
class MetricFamily:
    """`kind`: counter | gauge | histogram."""

    name: str
    kind: str
    help: str
    samples: tuple[MetricSample, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MetricsInput:
    """Everything that one answer is made from. `patience`: for how many more seconds the loop may be silent; CPU time
    and memory are the daemon's without its children."""

    state: State
    patience: float
    store_bytes: int
    disk_free: int
    scrubbed: Scrubbed
    reported: Reported
    cpu_seconds: float
    resident_bytes: int


def families(given: MetricsInput) -> Iterator[MetricFamily]:
    """In the order of docs/metrics.md."""
    yield from _passes(given.state, given.patience)
    yield from _models(given)
    yield from _scrub(given.scrubbed)
    yield from _source(given.state)
    yield from _reports(given.reported)
    yield from _process(given)


def _passes(state: State, patience: float) -> Iterator[MetricFamily]:
    passes = dict.fromkeys(RESULTS, 0) | dict(state.passes)
    yield _by("reconciler_passes_total", "Passes by result.", "result", passes)
    yield _durations(state)
    ended = None if state.last_pass is None else state.last_pass.unix
    yield _one("reconciler_last_pass_timestamp_seconds", "When the last pass ended.", ended)
    yield _by("reconciler_wakes_total", "What woke the loop, by reason.", "reason", state.wakes)
    meaning = "Steps carried out, by action and result."
    yield _labelled("reconciler_steps_total", meaning, ("action", "result"), state.steps.items())
    yield _one("reconciler_fetched_bytes_total", "Bytes of weights fetched from a hub.", state.fetched)
    meaning = "Bytes downloaded for models, by the host of the registry or mirror, or the kind of hub."
    yield _by("reconciler_downloaded_bytes_total", meaning, "origin", state.downloaded)
    used, daily = state.download_budget or (None, None)
    yield _one("reconciler_download_budget_bytes", "What may be downloaded a day.", daily)
    yield _one("reconciler_download_budget_used_bytes", "What of it is used today.", used)
    running = Counter(one.action for one in state.running)
    yield _one("reconciler_fetches_running", "Fetches that run now.", running["fetch"])
    yield _one("reconciler_conversions_running", "Conversions that run now.", running["convert"])
    yield _one("reconciler_loop_alive", "1 while the loop shows signs of life in time.", patience > 0.0)


def _models(given: MetricsInput) -> Iterator[MetricFamily]:
    state = given.state
    kinds = Counter((kind, one.status) for conditions in state.conditions.values() for kind, one in conditions.items())
    counts = {(kind, status): kinds[kind, status] for kind in TYPES for status in _STATUSES}
    meaning = "Declared or served variants, by condition and its status."
    yield _labelled("reconciler_variants", meaning, ("condition", "status"), counts.items())
    held = Counter(reason for conditions in state.conditions.values() for reason in _held(conditions))
    meaning = "Variants that are held back, by reason."
    yield _by("reconciler_variants_held", meaning, "reason", {reason: held[reason] for reason in HOLDS})
    verdicts = Counter((one.gate, one.status) for verdicts in state.verdicts.values() for one in verdicts)
    counts = {(gate.name, status): verdicts[gate.name, status] for gate in GATES for status in VERDICTS}
    meaning = "Bars of declared releases, by gate and verdict."
    yield _labelled("reconciler_gate_verdicts", meaning, ("gate", "status"), counts.items())
    yield _one("reconciler_served_bytes", "Size of what is served.", sum(state.sizes.values()))
    yield _one("reconciler_store_bytes", "Size of the artifact store.", given.store_bytes)
    yield _one("reconciler_disk_free_bytes", "Free on the file system of the root.", given.disk_free)
    yield _one("reconciler_problems", "Problems in the manifests, as last read.", state.problems)
    yield _one("reconciler_converged", "1 if the last pass left nothing to do.", state.last_result == "converged")


def _held(conditions: Mapping[str, Condition]) -> set[str]:
    """Each reason once, however many conditions give it."""
    return {conditions[kind].reason for kind in ("Ready", "Reconciling", "Stalled") if kind in conditions}


def _scrub(scrubbed: Scrubbed) -> Iterator[MetricFamily]:
    last, under_way = scrubbed.last, scrubbed.now
    yield _one("reconciler_scrub_timestamp_seconds", "When every byte had last been read.", unix(last.ended))
    yield _one("reconciler_scrub_bytes", "Bytes that the last complete scrub read.", _of(last, last.checked))
    yield _one("reconciler_scrub_found", "Damaged files that it found.", _of(last, last.found))
    share = under_way.checked / max(under_way.total, 1)
    yield _one("reconciler_scrub_progress_ratio", "Of the scrub under way.", _of(under_way, min(share, 1.0)))


def _of(one: Round, figure: float) -> float | None:
    return figure if one.began else None


def _source(state: State) -> Iterator[MetricFamily]:
    revisions = {"attempted": state.attempted, "applied": state.applied}
    shown = [((name, revision), 1) for name, revision in revisions.items() if _REVISION.fullmatch(revision)]
    meaning = "The revisions last attempted and last applied."
    yield _labelled("reconciler_revision_info", meaning, ("state", "revision"), shown)
    age = None if state.last_fetch is None else state.last_fetch.age
    yield _one("reconciler_fetch_age_seconds", "Since the repository last gave a good answer.", age)
    yield _one("reconciler_stale", "1 if the repository has been silent for too long.", state.stale)


def _reports(reported: Reported) -> Iterator[MetricFamily]:
    if reported.to:
        meaning = "When the last report of this machine arrived."
        yield _one("reconciler_report_timestamp_seconds", meaning, unix(reported.when))
        meaning = "1 while its reports do not arrive (`reconciler status` says why)."
        yield _one("reconciler_report_failing", meaning, bool(reported.why))


def _process(given: MetricsInput) -> Iterator[MetricFamily]:
    build = [((__version__, sys.version.partition(" ")[0]), 1)]
    yield _labelled("reconciler_build_info", "The version that runs.", ("version", "python"), build)
    yield _one("process_cpu_seconds_total", "CPU time of the daemon without its children.", given.cpu_seconds)
    yield _one("process_resident_memory_bytes", "Memory of the daemon without its children.", given.resident_bytes)
    yield _one("process_start_time_seconds", "When the daemon was started.", given.state.started.unix)


def _durations(state: State) -> MetricFamily:
    counts = {bound: state.durations.get(bound, 0) for bound in BUCKETS}
    samples = [
        MetricSample(suffix="_bucket", labels={"le": "+Inf" if bound == math.inf else repr(bound)}, value=count)
        for bound, count in counts.items()
    ]
    samples += [
        MetricSample(suffix="_sum", value=state.pass_seconds),
        MetricSample(suffix="_count", value=counts[math.inf]),
    ]
    name = "reconciler_pass_duration_seconds"
    return MetricFamily(name=name, kind="histogram", help="How long passes took.", samples=tuple(samples))


def _one(name: str, meaning: str, value: float | None) -> MetricFamily:
    """None: not known here, so the family is left out."""
    return _labelled(name, meaning, (), [] if value is None else [((), value)])


def _by(name: str, meaning: str, label: str, counts: Mapping[str, float]) -> MetricFamily:
    return _labelled(name, meaning, (label,), [((key,), count) for key, count in counts.items()])


def _labelled(
    name: str, meaning: str, labels: Sequence[str], values: Iterable[tuple[tuple[str, ...], float]]
) -> MetricFamily:
    """`values` by those of the labels."""
    samples = [MetricSample(labels=dict(zip(labels, key, strict=True)), value=value) for key, value in sorted(values)]
    kind = "counter" if name.endswith("_total") else "gauge"
    return MetricFamily(name=name, kind=kind, help=meaning, samples=tuple(samples))


def page(families: Iterable[MetricFamily]) -> str:
    """Families without samples are left out."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines.append(
                f"# HELP {family.name} {family.help.translate(_IN_HELP)}\n# TYPE {family.name} {family.kind}\n"
            )
        for sample in family.samples:
            labels = ",".join(f'{name}="{held.translate(_IN_LABEL)}"' for name, held in sample.labels.items())
            shown = f"{{{labels}}}" if labels else ""
            lines.append(f"{family.name}{sample.suffix}{shown} {number(sample.value)}\n")
    return "".join(lines)


def number(held: float) -> str:
    """A whole number as one: 12345678 bytes are not 1.2345678e+07."""
    return str(int(held)) if float(held).is_integer() and abs(held) < 2**53 else repr(float(held))
