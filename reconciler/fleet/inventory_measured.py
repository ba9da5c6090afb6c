"""The measurements in an inventory: numbers, and for golden prompts how many were answered rightly. No answer leaves
the machine. Elsewhere the gates of any commit are judged by them, with the same result as on the machine. Pure."""

import math
from collections.abc import Container, Iterable
from dataclasses import replace

from reconciler.domain.measured import Fidelity, Measured, MeasurementSet
from reconciler.domain.plain_data import as_dict
from reconciler.gates.status import GateStatus

NEWEST = 3  # releases of one artifact, the newest
MOST = 1000


def export_fidelity(known: MeasurementSet, build_keys: Container[str]) -> tuple[Fidelity, ...]:
    """Of the artifacts that matter now."""
    return tuple(one for key, one in known.fidelity.items() if key in build_keys and _is_finite(one))


def export_measurements(
    known: MeasurementSet, build_keys: Container[str], judged: Iterable[GateStatus]
) -> tuple[Measured, ...]:
    right = {(one.release, one.prompts): number for one in judged if (number := _right(one)) is not None}
    kept: list[Measured] = []
    count: dict[str, int] = {}
    for one in reversed(known.releases.values()):
        count[one.build_key] = count.get(one.build_key, 0) + 1
        if one.build_key in build_keys and count[one.build_key] <= NEWEST and _is_finite(one):
            kept.append(_without_answers(one, {k: n for (r, k), n in right.items() if r == one.release}))
    return tuple(reversed(kept))


def known_of(fidelity: Iterable[Fidelity], measured: Iterable[Measured] | None) -> MeasurementSet:
    """`measured` is None in the reports of earlier versions: then nobody knows."""
    return MeasurementSet(
        fidelity={one.build_key: one for one in fidelity},
        releases={one.release: one for one in measured or ()},
        told=measured is not None,
    )


def _without_answers(one: Measured, right: dict[str, int]) -> Measured:
    # guard: answers stay on the machine
    return replace(one, answers={}, asked=tuple(sorted(one.answers))[:MOST], right=right)


def _right(judged: GateStatus) -> int | None:
    """How many golden prompts were answered rightly, where the last pass could tell."""
    found = (one.number for one in judged.verdicts if (one.gate, one.measure) == ("prompts", "passed"))
    number = next(found, None)
    return None if number is None or not judged.prompts else round(number)


def _is_finite(held: object) -> bool:
    """JSON has no other numbers."""
    return all(math.isfinite(number) for number in _numbers(as_dict(held)))


def _numbers(held: object) -> Iterable[float]:
    if isinstance(held, float):
        yield held
    elif isinstance(held, dict | list | tuple):
        for inner in held.values() if isinstance(held, dict) else held:
            yield from _numbers(inner)
