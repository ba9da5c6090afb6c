"""The steps that bring a variant to the release that git wants, each with its cost. Pure; part of planner.plan.

A fetch is planned alone: what a conversion is made of is known only when the source is here, so the next plan has that.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.domain.changes import (
    Change,
    Convert,
    Cost,
    FetchSource,
    FieldChange,
    MeasureCandidate,
    MeasureServed,
    Pull,
    Register,
    VerifyCandidate,
    VerifyServed,
)
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.machine.registries import Offer
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Timing
from reconciler.domain.sources.locked import Fetch
from reconciler.gates.judgement import Needed, known_numbers, missing_measurements, needed
from reconciler.planner.difference import Difference
from reconciler.planner.variant_facts import VariantFacts

# Bytes that a download leaves free for everything else, while it is unknown what the conversion will take.
RESERVE = 256 << 20
# A conversion has a fixed part (imports, graph building) that does not shrink with the model.
_FIXED_SHARE_BYTES = 64 * 1024 * 1024


def fetch(facts: VariantFacts, source: Fetch) -> FetchSource:
    """With delete-then-build the download comes before what serves goes: its room is judged alone."""
    wanted = facts.wanted
    conversion = RESERVE if wanted.delete_first else max(wanted.peak_bytes, RESERVE)
    return FetchSource(
        reason=Reason.DRIFT_DETECTED if source.damaged else Reason.SOURCE_MISSING,
        release=wanted.release,
        source=source.source,
        forced_by=source.damaged,
        cost=Cost(
            download_bytes=source.missing,
            disk_bytes=source.missing,
            peak_disk_bytes=source.missing + conversion,
            seconds=_estimate("fetch", "", source.missing, facts.recorded.timings),
        ),
    )


def convert(facts: VariantFacts, difference: Difference, reason: Reason) -> Convert:
    wanted, seconds = facts.wanted, _seconds("convert", facts)
    return Convert(
        reason=reason,
        release=wanted.release,
        forced_by=difference.forced_by,
        field_changes=difference.field_changes,
        cost=Cost(
            disk_bytes=wanted.predicted_bytes,
            peak_disk_bytes=wanted.peak_bytes,
            peak_memory_bytes=wanted.memory_needed,
            seconds=seconds,
        ),
    )


def pull(facts: VariantFacts, difference: Difference, reason: Reason, offer: Offer) -> Pull:
    """What comes is renamed into the store: no byte of it lies twice."""
    return Pull(
        reason=reason,
        release=facts.wanted.release,
        forced_by=difference.forced_by,
        field_changes=difference.field_changes,
        offer=offer,
        cost=Cost(
            download_bytes=offer.missing,
            disk_bytes=offer.missing,
            peak_disk_bytes=offer.missing + RESERVE,
            seconds=_estimate("pull", "", offer.missing, facts.recorded.timings),
        ),
    )


def from_artifact(facts: VariantFacts, difference: Difference, number: int) -> Iterator[Change]:
    """From the artifact to the registration as `number`."""
    of_release: dict[str, Any] = {
        "reason": difference.reason,
        "release": facts.wanted.release,
        "number": number,
        "forced_by": difference.forced_by,
        "field_changes": difference.field_changes,
    }
    if _is_measured_first(facts):
        cost = Cost(seconds=_seconds("measure", facts))
        yield MeasureCandidate(**of_release, cost=cost, measure_key=facts.wanted.measure_key)
    yield VerifyCandidate(**of_release, cost=Cost(seconds=_seconds("verify", facts)))
    yield Register(**of_release, cost=Cost(disk_bytes=facts.copied_bytes, seconds=_seconds("register", facts)))


def original_to_fetch(facts: VariantFacts) -> FetchSource | None:
    """What a ready ONNX model is still to be compared with, on a machine that compares: where builds come from others,
    their numbers do too."""
    wanted, recorded = facts.wanted, facts.recorded
    if wanted.original is None or not recorded.measured.known or not facts.compares:
        return None
    missing = needed(wanted.gates, *known_numbers(wanted, recorded))
    return fetch(facts, wanted.original) if missing.fidelity else None


def _is_measured_first(facts: VariantFacts) -> bool:
    """Before it is verified, where measuring may take long. A conversion measures the fidelity of what it builds."""
    missing = needed(facts.wanted.gates, *known_numbers(facts.wanted, facts.recorded))
    compared_on_the_way = not facts.artifact_is_held and not facts.wanted.release.recipe.as_is
    if compared_on_the_way or not facts.recorded.measured.known:
        missing = Needed(gates=missing.in_runtime)
    return missing.slow


def check_again(facts: VariantFacts, number: int) -> Iterator[MeasureServed | VerifyServed]:
    """A release that serves is measured for a gate that was declared since, and verified again where it was measured
    with another runtime than is installed: once for each runtime, because numbers and failures carry its versions."""
    wanted, recorded = facts.wanted, facts.recorded
    if (
        recorded.measured.known
        and wanted.gates != GateSpec()
        and missing_measurements(wanted.gates, *known_numbers(wanted, recorded)).gates
    ):
        yield MeasureServed(
            reason=Reason.GATE_UNMEASURED,
            release=wanted.release,
            number=number,
            forced_by=("gates",),
            cost=Cost(seconds=_seconds("measure", facts)),
            measure_key=wanted.measure_key,
        )
    if previous := recorded.outdated.get(wanted.release.digest):
        packages = [name for name in sorted(previous) if recorded.runtime.get(name, previous[name]) != previous[name]]
        changes = [
            FieldChange(name=f"runtime.{one}", before=previous[one], after=recorded.runtime[one]) for one in packages
        ]
        yield VerifyServed(
            release=wanted.release,
            number=number,
            forced_by=tuple(one.name for one in changes),
            field_changes=tuple(changes),
            installed=recorded.runtime,
            cost=Cost(seconds=_seconds("verify", facts)),
        )


def _seconds(action: str, facts: VariantFacts) -> float | None:
    wanted, recipe = facts.wanted, facts.wanted.release.recipe
    precision = recipe.timed_as if action == "convert" else recipe.precision
    return _estimate(action, precision, wanted.source_bytes, facts.recorded.timings)


def _estimate(action: str, precision: str, source_bytes: int, timings: Iterable[Timing]) -> float | None:
    """Median seconds of the same action and precision on this machine, scaled by source size; None without history."""
    scaled = sorted(
        t.seconds * (source_bytes + _FIXED_SHARE_BYTES) / (t.source_bytes + _FIXED_SHARE_BYTES)
        for t in timings
        if t.action == action and t.precision == precision
    )
    return round(scaled[len(scaled) // 2], 3) if scaled else None
