"""Sizes and durations as text, in the spellings that people write and read.

Every option, manifest and configuration reads them here, so that each unit has one spelling. Sizes are bytes:
`1.5 GiB`, `20GB`, and Kubernetes' `512Mi`. Durations are seconds, in Go's form: `300ms`, `90s`, `1h30m`.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from annotated_types import Interval, Predicate

# The type says what a document may hold; nothing checks a value that is made in memory.
Count = Annotated[int, Interval(ge=0, le=1 << 60)]
Seconds = Annotated[float, Interval(ge=0, le=1_000_000_000)]


FORM = "%Y-%m-%dT%H:%M:%SZ"  # of a Time: RFC 3339, UTC, whole seconds


def _is_time(text: str) -> bool:
    try:
        return datetime.strptime(text, FORM).year < 9000  # something may be added to it
    except ValueError:
        raise ValueError("a time such as 2026-01-31T00:00:00Z") from None


Time = Annotated[str, Predicate(_is_time)]

SIZE_PATTERN = r"[0-9]{1,15}(\.[0-9]{1,3})? ?([kKMGT]i?)?B?"
DURATION_PATTERN = r"([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h)){1,4}"

_SIZE = re.compile(SIZE_PATTERN)
_DURATION = re.compile(DURATION_PATTERN)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_LOOSE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,12})")
_UNIT_NAMES = {
    "ms": ("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
}
_DAYS = ("d", "day", "days")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_POWERS = "kMGT"
_MEMORY = (("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20))


def size_text(size: int) -> str:
    """1536 -> '1.5 KiB'; negative sizes (freed) keep their sign."""
    value, sign = float(abs(size)), "-" if size < 0 else ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{sign}{value:.0f} {unit}" if unit == "B" else f"{sign}{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def memory_text(size: int) -> str:
    """As a manifest writes it, without rounding: '1536Mi'."""
    return next((f"{size // unit}{name}" for name, unit in _MEMORY if size % unit == 0), f"{size}B")


def read_size(text: str) -> int | None:
    """Bytes; None where `text` is no size. `Ki` and `KiB` are 1024, `k` and `kB` are 1000."""
    if not _SIZE.fullmatch(text):
        return None
    number = _NUMBER.match(text)
    assert number is not None
    unit = text[number.end() :].strip().removesuffix("B")
    base = 1024 if unit.endswith("i") else 1000
    power = _POWERS.lower().index(unit[0].lower()) + 1 if unit else 0
    return int(float(number[0]) * base**power)


def read_duration(text: str) -> float | None:
    """Seconds; None where `text` is no duration."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def duration_meant(text: str) -> Iterator[str]:
    """How what is no duration may have been meant, the likeliest first: `2` as `2s`, `1 min` as `1m`, `1d` as `24h`."""
    found = _LOOSE.fullmatch(text)
    number, unit = (found[1], found[2].lower()) if found else ("", "")
    if number and not unit:
        yield f"{number}s"
    elif number and unit in _DAYS:
        yield f"{float(number) * 24:g}h"
    elif number:
        yield from (f"{number}{short}" for short, names in _UNIT_NAMES.items() if unit in names)


def size_meant(text: str) -> Iterator[str]:
    """How what is no size may have been meant, in each spelling that a field may want: `4 gb` as `4GB`, `4Gi`, `4GiB`.
    A bare number is of none."""
    if (found := _LOOSE.fullmatch(text)) and found[2] and (power := found[2][0].upper()) in _POWERS.upper():
        binary = found[2][1:2].lower() == "i"
        yield from (f"{found[1]}{power}{ending}" for ending in (("iB", "i") if binary else ("B", "i", "iB")))


def duration_text(seconds: float) -> str:
    return f"{seconds:g}s"


def period_text(seconds: float) -> str:
    """For people, whole and in its two largest units: `24h`, `1h30m`, `45s`."""
    whole = int(seconds)
    parts = [(whole // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s")]
    return "".join([f"{number}{unit}" for number, unit in parts if number][:2]) or "0s"
