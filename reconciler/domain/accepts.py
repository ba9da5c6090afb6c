"""What a declared field means and accepts, as annotations of a dataclass.

A value that git declares is described once, as a frozen dataclass whose fields are annotated with `About` (its
meaning, for the documentation) and `Accepts` (its limits, and the words of a refusal). The types that read YAML, the
JSON Schema, the pages in docs/manifests and the names in a comparison come from that (manifests.described).
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class About:
    """What the field means, in one sentence."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Accepts:
    """`expected` is how a refusal begins; "" where the `words` are listed, or those of a Literal.

    The limits are those of the number, the length of a text, or the items of a list. `unit`: written as text with a
    unit (`size` in bytes, `duration` in seconds), held as a number. `nullable`: null is as good as leaving it out,
    though there is a default; without a default it always is. `instead`: words that are not accepted and that people
    write, each with the hint for it.
    """

    expected: str = ""
    hint: str = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    pattern: str | None = None
    unit: str = ""
    words: tuple[str, ...] = ()
    instead: tuple[tuple[str, str], ...] = ()
    nullable: bool = False


SHARE = Accepts(expected="a number from 0 to 1", least=0, most=1)
DIVERGENCE = Accepts(expected="a number from 0 to 100 (nats)", least=0, most=100)
RATIO = Accepts(expected="a number from 1 to 1000", least=1, most=1000)
RATE = Accepts(expected="a number above 0", above=0, most=1_000_000)
REASON = Accepts(expected="why, in a few words", least=1, most=200)
FLAG = Accepts(expected="true or false")
MEMORY = Accepts(
    expected="an amount of memory such as 512Mi or 4Gi", pattern="^[1-9][0-9]{0,8}(Mi|Gi|Ti)$", unit="size"
)
WAIT = Accepts(
    expected="a duration such as 300ms or 1.5s",
    pattern=r"^(?:[0-9]{0,5}[1-9][0-9]{0,5}(?:\.[0-9]{1,6})?|[0-9]{1,6}\.[0-9]{0,5}[1-9][0-9]{0,5})(ms|s|m)$",
    unit="duration",
)
DURATION = Accepts(
    expected="a duration such as 0s, 90s or 1h30m, at most 8760h",
    pattern=r"^([0-9]{1,6}(\.[0-9]{1,6})?(ms|s|m|h)){1,4}$",
    most=8760 * 3600,
    unit="duration",
)
LABEL = Accepts(expected="text of at most 4,096 characters", most=4096)


def whole(least: int, most: int, expected: str = "") -> Accepts:
    return Accepts(expected=expected or f"a whole number from {least} to {most}", least=least, most=most)


def number(least: float, most: float) -> Accepts:
    return Accepts(expected=f"a number from {least:g} to {most:g}", least=least, most=most)


@cache
def described_fields(declared: type) -> dict[str, tuple[Any, About | None, Accepts | None]]:
    """By field: its type without the annotations, and the two annotations."""
    hints = get_type_hints(declared, include_extras=True)
    return {name: _parts(hint) for name, hint in hints.items()}


def _parts(hint: Any) -> tuple[Any, About | None, Accepts | None]:
    if get_origin(hint) is not Annotated:
        return hint, None, None
    plain, *metadata = get_args(hint)
    about = next((one for one in metadata if isinstance(one, About)), None)
    return plain, about, next((one for one in metadata if isinstance(one, Accepts)), None)
