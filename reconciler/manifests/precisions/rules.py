"""Which precisions a manifest names, as a list of variants or as what a machine may choose from (`auto`), and what is
wrong with them."""

from collections import Counter

from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER, auto_precisions, converted_for
from reconciler.domain.text.quoting import listed
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.loader import Path
from reconciler.manifests.precisions.target_rules import provider_named
from reconciler.manifests.schema import AUTO, AutoPrecisions, ModelManifest, PrecisionChoice

FIELD: Path = ("spec", "precisions")


def place_of_precisions(declaration: Declaration[ModelManifest]) -> Path:
    """The field whose items they are."""
    return (*FIELD, AUTO) if declaration.keys(*FIELD) else FIELD


def precisions_named(declaration: Declaration[ModelManifest]) -> list[str | None]:
    """All that the model may be served at, with None for each that was refused."""
    if declaration.text(*FIELD) == AUTO:
        return list(auto_precisions(provider_named(declaration)))
    return declaration.texts(*place_of_precisions(declaration))


def chosen_among(written: PrecisionChoice, provider: str) -> tuple[tuple[str, ...], bool]:
    """The precisions, and whether each machine takes one of them."""
    if isinstance(written, AutoPrecisions):
        return tuple(written.auto), True
    return (auto_precisions(converted_for(provider)), True) if isinstance(written, str) else (tuple(written), False)


def check_precisions(declaration: Declaration[ModelManifest], *, made: bool) -> None:
    """`made`: by a conversion, for the target."""
    provider = provider_named(declaration)
    where = provider.device if provider is DEFAULT_PROVIDER else provider.name
    counts: Counter[str] = Counter()
    for index, precision in enumerate(declaration.texts(*place_of_precisions(declaration))):
        if precision is None:
            continue
        counts[precision] += 1
        path = (*place_of_precisions(declaration), index)
        if counts[precision] == 2:  # reported once, however often it is repeated
            message = f"expected each precision once, got {precision} again"
            declaration.report(path, "InvalidValue", message)
        elif made and counts[precision] == 1 and (unfit := provider.unfit.get(precision)):
            message = f"expected a precision that runs on {where} ({listed(provider.precisions)}), got {precision}"
            declaration.report(path, "PrecisionUnsupported", message, f"{unfit.why}; {unfit.instead}")
        elif made and counts[precision] == 1 and (unfit := provider.slow.get(precision)):
            message = f"{precision} is slow on {where}: {unfit.why}"
            declaration.report(path, "PrecisionSlow", message, unfit.instead, serious=False)
