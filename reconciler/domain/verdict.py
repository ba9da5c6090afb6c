"""Verdict: what one gate says about one measured number, and the ways to make one.

It is Successful, Failed or Inconclusive (nothing was measured, or the bar cannot be applied). Only a Failed one that
`rejects` keeps a release from being served.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

SUCCESSFUL, FAILED, INCONCLUSIVE = VERDICTS = ("Successful", "Failed", "Inconclusive")
MOST_MISSES = 5  # golden cases that a verdict names
NO_MEMORY_FIGURE = "this platform does not tell the memory of a process"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`number` is on the side of `bar` that `status` says; both are None where there is nothing to compare. `misses`
    are the first golden prompts that were answered wrongly, read from the answers that were kept."""

    gate: str
    measure: str
    status: str
    number: float | None
    bar: float | None
    message: str
    rejects: bool = False
    misses: tuple[str, ...] = ()


def at_least(gate: str, measure: str, number: float, bar: float, label: str) -> Verdict:
    message = f"{label} {shown_number(number)}, at least {shown_number(bar)} wanted"
    # guard: gate: a number below its bar fails
    return compared(gate, measure, number, bar, message, good=number >= bar)


def at_most(gate: str, measure: str, number: float, bar: float, label: str) -> Verdict:
    message = f"{label} {shown_number(number)}, at most {shown_number(bar)} wanted"
    # guard: gate: a number above its bar fails
    return compared(gate, measure, number, bar, message, good=number <= bar)


def of_cases(gate: str, right: int, least: int, message: str, misses: Sequence[str] = ()) -> Verdict:
    """Of golden cases, of which `right` passed. `misses` say of the others what was wrong, as far as that is known."""
    verdict = at_least(gate, "passed", float(right), float(least), "")
    message = f"{message}; {misses[0]}" if verdict.rejects and misses else message
    return replace(verdict, message=message, misses=tuple(misses[:MOST_MISSES]))


def compared(gate: str, measure: str, number: float, bar: float | None, message: str, *, good: bool) -> Verdict:
    status = SUCCESSFUL if good else FAILED
    return Verdict(gate=gate, measure=measure, status=status, number=number, bar=bar, message=message, rejects=not good)


def inconclusive(gate: str, measure: str, message: str = "not measured yet") -> Verdict:
    return Verdict(gate=gate, measure=measure, status=INCONCLUSIVE, number=None, bar=None, message=message)


def shown_number(number: float) -> str:
    if abs(number) < 1e15 and number == int(number):
        return f"{number:,.0f}"
    return f"{number:.4g}"
