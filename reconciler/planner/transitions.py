"""What the conditions of a pass say that those before it did not: the news of a variant. Pure."""

from collections.abc import Iterator, Mapping

from reconciler.domain.recorded import Condition

Conditions = Mapping[str, Mapping[str, Condition]]


def transitions(before: Conditions, after: Conditions) -> Iterator[tuple[str, str, Condition]]:
    """Type of event, variant, and the condition that became so. Work that is merely left is no news."""
    for variant, held in after.items():
        old = before.get(variant, {})
        ready, stalled = held.get("Ready"), held.get("Stalled")
        if ready is not None and ready.status != _status(old, "Ready"):
            if ready.status == "True":
                yield "variant.ready", variant, ready
            elif _status(old, "Ready") == "True":
                yield "variant.not-ready", variant, ready
        if stalled is not None and stalled.status == "True" and _key(stalled) != _key(old.get("Stalled")):
            yield "variant.stalled", variant, stalled


def _status(held: Mapping[str, Condition], kind: str) -> str:
    return held[kind].status if kind in held else ""


def _key(condition: Condition | None) -> tuple[str, str] | None:
    return None if condition is None else (condition.status, condition.reason)
