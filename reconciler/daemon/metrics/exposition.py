"""Prometheus' text format, version 0.0.4: families of samples in, one page out. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_IN_HELP = str.maketrans({"\\": "\\\\", "\n": "\\n"})
_IN_LABEL = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


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


def page(families: Iterable[MetricFamily]) -> str:
    """Families without samples are left out."""
    return "".join(_family(family) for family in families if family.samples)


def _family(family: MetricFamily) -> str:
    head = f"# HELP {family.name} {family.help.translate(_IN_HELP)}\n# TYPE {family.name} {family.kind}\n"
    return head + "".join(f"{family.name}{_sample(sample)}\n" for sample in family.samples)


def _sample(sample: MetricSample) -> str:
    labels = ",".join(f'{name}="{held.translate(_IN_LABEL)}"' for name, held in sample.labels.items())
    return (
        f"{sample.suffix}{{{labels}}} {number(sample.value)}" if labels else f"{sample.suffix} {number(sample.value)}"
    )


def number(held: float) -> str:
    """A whole number as one: 12345678 bytes are not 1.2345678e+07."""
    return str(int(held)) if float(held).is_integer() and abs(held) < 2**53 else repr(float(held))
