"""What a machine tells of its measurements: numbers, and of golden prompts how many were answered rightly. No answer
leaves the machine. Elsewhere the gates of any commit are judged by it, as the machine would judge them itself. Pure."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import replace

from reconciler.domain.measured import Endured, Fidelity, Known, Measured, Measurements, Speed
from reconciler.domain.value import as_dict
from reconciler.fleet.form import Flag, Form, Many, Mapping, Optional, Text, Whole
from reconciler.gates.judged import Judged

MOST_TOLD = 3  # releases of one artifact, the newest
MOST = 1000
FEW = 300

_DIGEST = Text(100, pattern=r"\S*", meaning="a digest")
_NAME = Text(200, pattern=r"\S.*", meaning="a name")
_LINE = Text(300)
_COUNT = Whole()
_SIGNED = Whole(least=-(1 << 60))
_NUMBER = Whole(least=-(1 << 60), fraction=True)

FIDELITY = Form(
    Fidelity,
    build_key=_DIGEST,
    prompts=_DIGEST,
    positions=_COUNT,
    top1_agreement=_NUMBER,
    mean_kl=_NUMBER,
    perplexity_ratio=_NUMBER,
    wiring_kl=Optional(_NUMBER),
    when=_LINE,
)
_LOAD = Form(
    Measurements,
    load_seconds=_NUMBER,
    first_token_seconds=_NUMBER,
    tokens_per_second=_NUMBER,
    prompt_tokens=_COUNT,
    completion_tokens=_COUNT,
    peak_memory_bytes=_COUNT,
    takes_system=Flag(),
    runtime=Mapping(_NAME, _LINE, FEW),
)
_SPEED = Form(
    Speed,
    wanted_tokens=_COUNT,
    prompt_tokens=_COUNT,
    first_token_seconds=_NUMBER,
    tokens_per_second=_NUMBER,
)
_ENDURED = Form(
    Endured,
    requests=_COUNT,
    growth_bytes=Optional(_SIGNED),
    drift=_NUMBER,
    crashed=Optional(Many(_LINE, FEW)),
)
MEASURED = Form(
    Measured,
    release=_DIGEST,
    build_key=_DIGEST,
    load=Optional(_LOAD),
    answers=Mapping(_DIGEST, _LINE, 0),
    rendered=Mapping(_DIGEST, Many(_SIGNED, 2, least=2), FEW),
    speeds=Many(_SPEED, FEW),
    speed_memory_bytes=_COUNT,
    endured=Optional(_ENDURED),
    times=Mapping(_NAME, _LINE, FEW),
    refused=Mapping(_DIGEST, _NAME, MOST),
    asked=Many(_DIGEST, MOST),
    right=Mapping(_DIGEST, _COUNT, FEW),
)


def told_fidelity(known: Known, build_keys: Container[str]) -> tuple[Fidelity, ...]:
    """Of the artifacts that matter now."""
    return tuple(one for key, one in known.fidelity.items() if key in build_keys and _is_finite(one))


def told_measured(known: Known, build_keys: Container[str], judged: Iterable[Judged]) -> tuple[Measured, ...]:
    right = {(one.release, one.prompts): told for one in judged if (told := _right(one)) is not None}
    kept: list[Measured] = []
    count: dict[str, int] = {}
    for one in reversed(known.releases.values()):
        count[one.build_key] = count.get(one.build_key, 0) + 1
        if one.build_key in build_keys and count[one.build_key] <= MOST_TOLD and _is_finite(one):
            kept.append(_without_answers(one, {k: n for (r, k), n in right.items() if r == one.release}))
    return tuple(reversed(kept))


def known_of(fidelity: Iterable[Fidelity], measured: Iterable[Measured] | None) -> Known:
    """`measured` is None in the reports of earlier versions: then nobody knows."""
    return Known(
        fidelity={one.build_key: one for one in fidelity},
        releases={one.release: one for one in measured or ()},
        told=measured is not None,
    )


def _without_answers(one: Measured, right: dict[str, int]) -> Measured:
    return replace(one, answers={}, asked=tuple(sorted(one.answers))[:MOST], right=right)


def _right(judged: Judged) -> int | None:
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
