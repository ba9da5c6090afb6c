"""How long a step will take, told from what such steps took on this machine. Pure."""

from collections.abc import Iterable

from reconciler.domain.recorded import Timing

# A conversion has a fixed part (imports, graph building) that does not shrink with the model.
_FIXED_SHARE_BYTES = 64 * 1024 * 1024


def seconds_for(action: str, precision: str, source_bytes: int, timings: Iterable[Timing]) -> float | None:
    """Median seconds of the same action and precision, scaled by source size; None without history."""
    scaled = sorted(
        t.seconds * (source_bytes + _FIXED_SHARE_BYTES) / (t.source_bytes + _FIXED_SHARE_BYTES)
        for t in timings
        if t.action == action and t.precision == precision
    )
    return round(scaled[len(scaled) // 2], 3) if scaled else None
