"""The reference gate: this machine's runtime finds what was found where the artifact was built.

A kernel that computes wrongly on one kind of processor does so for whole texts and answers alike, so the decoding gate
does not see it, and the fidelity gate saw another machine. The builder recorded what the source and the artifact
found at some places of a text (domain.reference); the decoding gate reads these tokens first and compares. Here that is
judged, and the document read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from reconciler.domain import digest
from reconciler.domain.accepts import DIVERGENCE, About
from reconciler.domain.gate_spec import Gate
from reconciler.domain.measured import Numbers
from reconciler.domain.plain_data import as_dict
from reconciler.domain.reference import METHOD, Reference
from reconciler.domain.targets.precisions import of_precision
from reconciler.domain.verdict import Verdict, at_most, inconclusive
from reconciler.host.codec import Codec, Misformed, parse_json

LARGEST = 256 << 10  # bytes of the document

# Measured (docs/fidelity.md). Honest differences: threads, another version of onnxruntime, sums that are not rounded as
# on processors without such kernels. Of random models they cost up to 0.0022 at int8 and int4, 3e-6 at fp16, 1e-11 at
# fp32; rotations, windows and matrices that are wrong cost a hundred times as much. bf16 was never run: it is judged as
# what is rounded.
DEFAULT_BARS = {"fp32": 1e-7, "fp16": 1e-4, "bf16": 6e-3, "int8": 6e-3, "int4": 6e-3}
# How much further from the source than at the builder the mean may be: a share of what it was there, and in nats.
SHARE = 0.25
DEFAULT_EXCESS = {"fp32": 1e-5, "fp16": 1e-3, "bf16": 0.02, "int8": 0.02, "int4": 0.1}

_CODEC = Codec(Reference)


@dataclass(frozen=True, kw_only=True)
class ReferenceGate(Gate):
    """What is found here against what source and artifact found where it was built. Measured with the decoding gate. A
    bar left out is the default of the precision."""

    name: ClassVar[str] = "reference"
    about: ClassVar[str] = "The runtime here against the artifact and its source where it was built. Always there."
    always: ClassVar[bool] = True
    way_out: ClassVar[str] = (
        "the artifact was right where it was built: look at this machine's runtime and processor, or relax the bar"
    )

    max_median_kl: Annotated[
        float | None,
        About("Most KL divergence of a token from what the builder found, in nats: the median."),
        DIVERGENCE,
    ] = None
    max_excess_kl: Annotated[
        float | None,
        About("How much more than at the builder the mean KL divergence from the source may be, in nats."),
        DIVERGENCE,
    ] = None

    def missing(self, numbers: Numbers) -> bool:
        """It comes with what the decoding gate measures."""
        return False

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        found = numbers.measured.referenced if numbers.measured else None
        # guard: gate: another method is no reference
        if found is None or found.method != METHOD:  # of a release that was measured by an earlier version
            return
        if found.unmeasured:
            yield inconclusive(self.name, "medianKL", f"not measured: {found.unmeasured}")
            return
        median, excess = self._bars(numbers.precision, found.built_kl)
        where = f"{found.positions} tokens against the same artifact where it was built: median divergence"
        yield at_most(self.name, "medianKL", found.median_kl, median, where)
        where = (
            f"against its source: {found.agreed} of {found.positions} tokens likeliest in both"
            f" ({found.built_agreed} where it was built), mean divergence"
        )
        yield at_most(self.name, "sourceKL", found.source_kl, found.built_kl + excess, where)

    def shown_fields(self, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
        """A bar that is not declared comes from the precision."""
        for name, declared, usual in (
            ("maxMedianKL", self.max_median_kl, DEFAULT_BARS),
            ("maxExcessKL", self.max_excess_kl, DEFAULT_EXCESS),
        ):
            default = " and ".join(f"{of_precision(usual, precision):g} ({precision})" for precision in precisions)
            yield name, f"{default}, the default" if declared is None else declared

    def _bars(self, precision: str, built_kl: float) -> tuple[float, float]:
        median = of_precision(DEFAULT_BARS, precision) if self.max_median_kl is None else self.max_median_kl
        usual = of_precision(DEFAULT_EXCESS, precision) + SHARE * built_kl
        return median, usual if self.max_excess_kl is None else self.max_excess_kl


def written(reference: Reference) -> bytes:
    return digest.canonical(as_dict(reference))


def read(data: bytes, build_key: str) -> Reference | None:
    """None for what has another form or is about another artifact."""
    try:
        parse_json(data, LARGEST)
        found = _CODEC.read_json(data)
    except Misformed:
        return None
    # guard: a reference counts for its build key
    return found if found.build_key == build_key else None
