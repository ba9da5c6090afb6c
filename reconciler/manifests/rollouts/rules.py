"""From a declared rollout to a `Rollout`: the rules that look at more than one field, and at the models that are there.

One with a problem is not left out, as a model would be: what it covers must not go to every machine at once because of
a typing error. It stays as `broken`, and what it covers waits.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial

from reconciler.domain.rollout import Rollout, RolloutOptions
from reconciler.domain.text.quoting import listed, nearest
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.described import values_of
from reconciler.manifests.schema import RolloutManifest
from reconciler.manifests.selector import mismatch
from reconciler.manifests.selectors.rules import check_selector

Labels = Mapping[str, Mapping[str, str]]  # by model
INVALID = "it is not valid"
MODELS, SELECTOR, RINGS, PROMOTED = ("spec", "models"), ("spec", "selector"), ("spec", "rings"), ("spec", "promoted")


def rollouts_of(
    declarations: Sequence[Declaration[RolloutManifest]], models: Labels, clashing: AbstractSet[tuple[str, str]]
) -> tuple[Rollout, ...]:
    """Sorted by name. `models` are the labels of every model that is declared, broken or not; `clashing` are the kinds
    and names that two documents have."""
    found: list[Rollout] = []
    for each in declarations:
        one = each.unless_we_fail(partial(_judged, each, models, clashing, found))
        found.append(one or _broken(each, INVALID, models))
    return tuple(sorted(found, key=lambda one: (one.name, one.where)))


def _judged(
    declaration: Declaration[RolloutManifest],
    models: Labels,
    clashing: AbstractSet[tuple[str, str]],
    others: Iterable[Rollout],
) -> Rollout:
    one = _rollout(declaration, models)
    if ("Rollout", one.name) in clashing and not one.broken:
        one = _broken(declaration, "another Rollout has its name", models)
    return _alone(one, others, declaration, models)


def _rollout(declaration: Declaration[RolloutManifest], models: Labels) -> Rollout:
    before = len(declaration.log.problems)
    _check_models(declaration, models)
    _check_rings(declaration)
    _check_promoted(declaration)
    given = declaration.manifest
    if given is None or len(declaration.log.problems) > before:
        return _broken(declaration, INVALID, models)
    rollout = Rollout(
        name=given.metadata.name,
        file=declaration.file,
        line=declaration.document.line(()),
        **values_of(RolloutOptions, given.spec),
    )
    selector, names = rollout.selector, rollout.models or tuple(models)
    covers = (name for name in names if selector is None or not mismatch(selector, models.get(name, {})))
    return Rollout(**{**vars(rollout), "covers": frozenset(covers)})


def _broken(declaration: Declaration[RolloutManifest], why: str, models: Labels) -> Rollout:
    """It covers the models that it names; any, where it names none, or one that is not there: that may be misspelt."""
    names = declaration.texts(*MODELS)
    are_there = bool(names) and all(name in models for name in names)
    return Rollout(
        name=declaration.text("metadata", "name") or "(without a name)",
        file=declaration.file,
        line=declaration.document.line(()),
        rings=(),
        covers=frozenset(name for name in names if name) if are_there else None,
        broken=why,
    )


def _alone(
    rollout: Rollout, others: Iterable[Rollout], declaration: Declaration[RolloutManifest], models: Labels
) -> Rollout:
    """A model is in one Rollout: the one that comes later is wrong."""
    for other in others:
        both = sorted(name for name in models if other.is_about(name) and rollout.is_about(name))
        if both and not (rollout.broken or other.broken):
            message = f"expected models that no other Rollout is about, got {both[0]}, which {other.where} is about"
            path = (*MODELS, rollout.models.index(both[0])) if both[0] in rollout.models else ("spec",)
            declaration.report(path, "RolloutOverlap", message, "name the models of each with `models` or `selector`")
            return _broken(declaration, f"Rollout {other.name} is about {both[0]} too", models)
    return rollout


def _check_models(declaration: Declaration[RolloutManifest], models: Labels) -> None:
    names = declaration.texts(*MODELS)
    for index, name in enumerate(names):
        if name and name not in models:
            message = f"expected the name of a Model, but there is no {name}"
            declaration.report((*MODELS, index), "UnknownReference", message, nearest(name, models))
        elif name and name in names[:index]:
            declaration.report((*MODELS, index), "InvalidValue", f"expected each model once, got {name} again")
    check_selector(declaration, SELECTOR, of_machines=False)
    if names and declaration.keys(*SELECTOR):
        message = "expected one of models and selector, got both"
        declaration.report(SELECTOR, "InvalidValue", message, "delete one of the two")


def _check_rings(declaration: Declaration[RolloutManifest]) -> None:
    names: list[str] = []
    total = 0.0
    for index in range(len(declaration.texts(*RINGS))):
        path = (*RINGS, index)
        name = declaration.text(*path, "name") or ""
        if name and name in names:
            message = f"expected a name of its own, got {name} again"
            declaration.report((*path, "name"), "InvalidValue", message)
        names.append(name)
        check_selector(declaration, (*path, "nodeSelector"))
        written = [one for one in ("share", "count", "machines") if one in declaration.keys(*path)]
        if len(written) > 1:
            message = f"expected one of share, count and machines, got {listed(written)}"
            declaration.report((*path, written[1]), "InvalidValue", message)
        elif "count" in written and "nodeSelector" in declaration.keys(*path):
            message = "expected a count of all machines, got one beside nodeSelector"
            hint = "whoever counts knows the names of all machines, not their labels: use share, or machines"
            declaration.report((*path, "count"), "InvalidValue", message, hint)
        total += _number(declaration.text(*path, "share"))
        if total > 1.0 + 1e-9:
            message = f"expected shares that come to 1 at most, got {total:g} with this one"
            declaration.report((*path, "share"), "InvalidValue", message)
            return


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _check_promoted(declaration: Declaration[RolloutManifest]) -> None:
    names = [declaration.text(*RINGS, index, "name") for index in range(len(declaration.texts(*RINGS)))]
    for index in range(len(declaration.texts(*PROMOTED))):
        path = (*PROMOTED, index, "ring")
        ring = declaration.text(*path)
        if ring and ring not in names:
            message = f"expected the name of a ring, but there is no {ring}"
            declaration.report(path, "UnknownReference", message, nearest(ring, [one for one in names if one]))
