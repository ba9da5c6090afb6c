"""The fidelity gate: the converted model against its source, on fixed texts. The converter measures it
(conversion.worker.fidelity); here it is judged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from reconciler.domain.accepts import DIVERGENCE, RATIO, REASON, SHARE, About
from reconciler.domain.gate_spec import Gate
from reconciler.domain.measured import TEXTS_DIGEST, Numbers
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER
from reconciler.domain.targets.precisions import of_precision
from reconciler.domain.text.names import camel
from reconciler.domain.verdict import Verdict, at_least, at_most, inconclusive

BARS = ("min_top1_agreement", "max_mean_kl", "max_perplexity_ratio", "max_wiring_kl")

# Measured (docs/fidelity.md). Random models, which lose most by rounding, must pass: top-1 agreement of faithful ones
# goes down to 0.76 at int8 and bf16, and 0.15 at int4. What rounding does not explain is below 4e-7 for a faithful one
# (3e-6 at fp16) and above 1e-4 for a wrong one. Trained models do far better in the rest: declare bars of your own.
DEFAULT_BARS = {
    "fp32": dict(zip(BARS, (0.99, 1e-5, 1.01, 1e-5), strict=True)),
    "fp16": dict(zip(BARS, (0.95, 0.005, 1.02, 1e-5), strict=True)),
    "bf16": dict(zip(BARS, (0.70, 0.10, 1.20, 1e-5), strict=True)),
    "int8": dict(zip(BARS, (0.70, 0.10, 1.20, 2e-6), strict=True)),
    "int4": dict(zip(BARS, (0.10, 3.0, 3.0, 2e-6), strict=True)),
}
# A row of weights, in units of what rounding to the nearest step costs on average: at most 1.2 for the tools' own, 2.3
# where all weights of a block are equally large and int4 cuts half of them off. Codes that are one too high cost 3.5.
MOST_ROUNDING = 2.75
_BY_PROCESSOR = " (its graph, by the processor instead of {})"


@dataclass(frozen=True, kw_only=True)
class FidelityGate(Gate):
    """The converted model against its source, on fixed prompts. Bars left out keep the default of the precision."""

    name: ClassVar[str] = "fidelity"
    about: ClassVar[str] = "The converted model against its source. Always there."
    always: ClassVar[bool] = True
    slow: ClassVar[bool] = True

    min_top1_agreement: Annotated[
        float | None, About("Least share of positions where both find the same token likeliest."), SHARE
    ] = None
    max_mean_kl: Annotated[float | None, About("Most mean KL divergence from the source, in nats."), DIVERGENCE] = None
    max_perplexity_ratio: Annotated[float | None, About("Most perplexity, in that of the source."), RATIO] = None
    max_wiring_kl: Annotated[
        float | None,
        About("Most mean KL divergence from the source with the same rounded weights: what rounding cannot explain."),
        DIVERGENCE,
    ] = None
    skip: Annotated[str, About("Do not ask for it, and why."), REASON] = ""

    @property
    def asked(self) -> object:
        return "skipped" if self.skip else None

    @property
    def contradiction(self) -> str:
        return "either `skip` or bars" if self.skip and self != FidelityGate(skip=self.skip) else ""

    def missing(self, numbers: Numbers) -> bool:
        return not self.skip and not _is_current(numbers)

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        found = numbers.fidelity
        if self.skip:
            yield inconclusive(self.name, "skipped", f"skipped: {self.skip}")
            return
        if found is None or not _is_current(numbers):
            yield inconclusive(self.name, "fidelity")
            return
        if found.unmeasured:  # guard: gate: numbers that are not there prove nothing
            yield inconclusive(self.name, "fidelity", f"not measured: {found.unmeasured}")
            return
        bars = self._bars(numbers.precision)
        agreement, ratio = found.top1_agreement, found.perplexity_ratio
        by = _BY_PROCESSOR.format(numbers.provider) if numbers.provider not in ("", DEFAULT_PROVIDER.name) else ""
        yield at_least(self.name, "top1Agreement", agreement, bars["min_top1_agreement"], f"top-1 agreement{by}")
        yield at_most(self.name, "meanKL", found.mean_kl, bars["max_mean_kl"], "mean KL divergence")
        yield at_most(self.name, "perplexityRatio", ratio, bars["max_perplexity_ratio"], "perplexity ratio")
        if found.wiring_kl is not None:
            label = "divergence that rounding does not explain"
            yield at_most(self.name, "wiringKL", found.wiring_kl, bars["max_wiring_kl"], label)
        if found.rounding_distance is not None:
            label = "distance of the rounded weights"
            yield at_most(self.name, "roundingDistance", found.rounding_distance, MOST_ROUNDING, label)

    def shown_fields(self, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
        """A bar that is not declared comes from the precision."""
        declared = dict(super().shown_fields(precisions))
        for name in BARS:
            default = " and ".join(
                f"{of_precision(DEFAULT_BARS, precision)[name]:g} ({precision})" for precision in precisions
            )
            yield camel(name), declared.get(camel(name), f"{default}, the default")
        if self.skip:
            yield "skip", self.skip

    def _bars(self, precision: str) -> dict[str, float]:
        declared = {name: bar for name in BARS if (bar := getattr(self, name)) is not None}
        return of_precision(DEFAULT_BARS, precision) | declared


def _is_current(numbers: Numbers) -> bool:
    """Measured on the texts of today."""
    # guard: gate: other texts are no fidelity
    return numbers.fidelity is not None and numbers.fidelity.prompts == TEXTS_DIGEST
