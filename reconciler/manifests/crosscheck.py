"""Rules across files: a name that is taken twice, a model that is called like another one's variant, and a
PruneConfirmation of a model that is declared. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from typing import cast

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import variant_name
from reconciler.manifests.declaration import Claim, Declaration, ProblemLog
from reconciler.manifests.schema import Manifest, ModelManifest, PruneConfirmationManifest


def clashes(declarations: list[Declaration[Manifest]], claims: list[Claim], log: ProblemLog) -> set[tuple[str, str]]:
    """The (kind, name) pairs that are taken twice. Neither document gets the name: either may be the mistake."""
    return {*_same_names(claims, log), *_variant_names(declarations)}


def _same_names(claims: list[Claim], log: ProblemLog) -> Iterator[tuple[str, str]]:
    by_name: dict[tuple[str, str], list[Claim]] = defaultdict(list)
    for claim in claims:
        by_name[claim.kind, claim.name].append(claim)
    for (kind, name), (first, *others) in by_name.items():
        for other in others:
            message = f"expected a {kind} name of its own, got {name}, which {first.where} has already"
            field, hint = "metadata.name", "choose another name"
            log.add(
                Problem(code="DuplicateName", file=other.file, line=other.line, field=field, message=message, hint=hint)
            )
            yield kind, name


def _variant_names(declarations: list[Declaration[Manifest]]) -> Iterator[tuple[str, str]]:
    """`phi` at int4 is the variant `phi-int4`; a model of that name could not be told from it."""
    path = ("metadata", "name")
    models = [(each.text(*path), each) for each in declarations if each.kind is ModelManifest]
    variants = {
        variant_name(name, precision): declaration
        for name, declaration in models
        for precision in declaration.texts("spec", "precisions")
        if name and precision
    }
    for name, model in models:
        if name and (other := variants.get(name)):
            where = f"{other.file}:{other.document.line(path)}"
            message = f"expected a name of its own, got {name}, which is a variant of the model at {where}"
            model.report(path, "NameCollision", message, "choose another name")
            yield "Model", name


def confirmed(declarations: list[Declaration[Manifest]], claims: list[Claim]) -> tuple[str, ...]:
    """The models that PruneConfirmations allow to go although many go at once, sorted."""
    declared = {claim.name: claim.where for claim in claims if claim.kind == "Model"}
    found: set[str] = set()
    for declaration in declarations:
        if issubclass(declaration.kind, PruneConfirmationManifest):
            found |= _confirmed(cast("Declaration[PruneConfirmationManifest]", declaration), declared)
    return tuple(sorted(found))


def _confirmed(declaration: Declaration[PruneConfirmationManifest], declared: dict[str, str]) -> set[str]:
    """A confirmation that names a declared model is an error, so that a stale one cannot allow a later prune."""
    names = declaration.texts("spec", "models")
    for index, name in enumerate(names):
        if name in declared:  # guard: a confirmation names nothing that is declared
            message = f"expected a model that is not declared, got {name}, which is declared at {declared[name]}"
            hint = "take the name out: that confirmation is over"
            declaration.report(("spec", "models", index), "ConfirmedButDeclared", message, hint)
    return {name for name in names if name and name not in declared} if declaration.manifest else set()
