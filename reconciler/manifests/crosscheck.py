"""Names across files: the same name twice, and a model that is called like another model's variant."""

from collections import defaultdict
from collections.abc import Iterator

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import variant_name
from reconciler.manifests.declaration import Claim, Declaration, ProblemLog
from reconciler.manifests.schema import Manifest, ModelManifest


def clashes(
    declarations: list[Declaration[Manifest]], claims: list[Claim], findings: ProblemLog
) -> set[tuple[str, str]]:
    """The (kind, name) pairs that are taken twice. Neither of the two may have it: which one is meant is not ours to
    guess."""
    return {*_same_names(claims, findings), *_variant_names(declarations, findings)}


def _same_names(claims: list[Claim], findings: ProblemLog) -> Iterator[tuple[str, str]]:
    by_name: dict[tuple[str, str], list[Claim]] = defaultdict(list)
    for claim in claims:
        by_name[claim.kind, claim.name].append(claim)
    for (kind, name), (first, *others) in by_name.items():
        for other in others:
            message = f"expected a {kind} name of its own, got {name}, which {first.where} has already"
            findings.add(_name_problem(other.file, other.line, "DuplicateName", message))
            yield kind, name


def _variant_names(declarations: list[Declaration[Manifest]], findings: ProblemLog) -> Iterator[tuple[str, str]]:
    """`phi` at int4 is the variant `phi-int4`; a model of that name could not be told from it."""
    models = [(each.text("metadata", "name"), each) for each in declarations if each.kind is ModelManifest]
    variants = {
        variant_name(name, precision): declaration
        for name, declaration in models
        for precision in declaration.texts("spec", "precisions")
        if name and precision
    }
    for name, model in models:
        if name and (other := variants.get(name)):
            where = f"{other.file}:{other.document.line(('metadata', 'name'))}"
            message = f"expected a name of its own, got {name}, which is a variant of the model at {where}"
            findings.add(_name_problem(model.file, model.document.line(("metadata", "name")), "NameCollision", message))
            yield "Model", name


def _name_problem(file: str, line: int, code: str, message: str) -> Problem:
    return Problem(code=code, file=file, line=line, field="metadata.name", message=message, hint="choose another name")
