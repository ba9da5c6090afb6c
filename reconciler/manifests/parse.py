"""From the bytes of manifests to what they declare, with all problems of all files at once.

Pure: what it must know of the disk it asks through `ParseContext`, which can remember question and answer
(`manifests.parsed`). A document with a problem declares nothing and harms no other; what did parse in it is checked all
the same.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import TypeVar, cast

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model, variant_name
from reconciler.domain.policy.policy import Policy
from reconciler.manifests.declaration import Claim, Declaration, ProblemLog
from reconciler.manifests.dependency_rules import wrongly_dependent
from reconciler.manifests.documents.foreign import left_out
from reconciler.manifests.documents.reading import FileReader, ReadDocument
from reconciler.manifests.golden.files import GoldenFiles
from reconciler.manifests.loader import YamlDocument
from reconciler.manifests.lock_file import Lock
from reconciler.manifests.model_rules import Templates, model_of
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.paths import ParseContext
from reconciler.manifests.policy_rules import broken_policy, is_policy, policy_of, unread_policies, warn_if_idle
from reconciler.manifests.precisions.rules import precisions_named
from reconciler.manifests.problems import MAX_PROBLEMS
from reconciler.manifests.rollouts.rules import rollouts_of
from reconciler.manifests.schema import (
    Manifest,
    ModelManifest,
    PolicyManifest,
    PromptTemplateManifest,
    PruneConfirmationManifest,
    RolloutManifest,
)
from reconciler.manifests.template_rules import template_of

Kind = TypeVar("Kind", bound=Manifest)


def parse(files: Mapping[str, bytes], context: ParseContext, reader: FileReader | None = None) -> Parsed:
    """`files` are the manifests by name, relative to `context.base`, with forward slashes."""
    reader = reader or FileReader()
    log = ProblemLog()
    claims: list[Claim] = []
    declarations: list[Declaration[Manifest]] = []
    policies: list[Policy] = []
    foreign: list[tuple[YamlDocument, str]] = []
    for name in sorted(files):
        file = context.shown(name)
        found = reader.read(file, name, files[name])
        log.problems += found.problems
        foreign += ((document, file) for document in found.foreign)
        for read in found.documents:
            claims += _claim(read.document, file)
            log.problems += read.problems
            declarations += _declaration(read, name, context, log)
            if is_policy(read.document) and read.kind is None:
                policies.append(broken_policy(read.document, file))
        count = sum(is_policy(read.document) for read in found.documents)
        policies += unread_policies(file, files[name], count, damaged=bool(found.problems))
    policies += (
        each.unless_we_fail(partial(policy_of, each)) or broken_policy(each.document, each.file)
        for each in _of(PolicyManifest, declarations)
    )
    # Of two documents that take the same name neither gets it: either may be the mistake.
    clashing = {*_same_names(claims, log), *_variant_names(declarations)}
    clashing |= {("Model", name) for name in _wrongly_dependent(declarations, claims)}
    templates = _templates(declarations, claims)
    templates |= {name: None for kind, name in clashing if kind == "PromptTemplate"}
    log.warnings += left_out(foreign)
    lock, golden = Lock(context, log), GoldenFiles()
    half_read: list[Model] = []
    models = [
        one
        for each in _of(ModelManifest, declarations)
        if (one := each.unless_we_fail(partial(model_of, each, templates, lock, golden, half_read))) is not None
    ]
    models = sorted((m for m in models if ("Model", m.name) not in clashing), key=lambda model: model.name)
    for each in _of(PolicyManifest, declarations) if not log.problems else ():
        each.unless_we_fail(partial(warn_if_idle, each, models))
    there = {claim.name for claim in claims if claim.kind == "Model"}
    return Parsed(
        models=tuple(models),
        half_read=tuple(half_read),
        broken=frozenset(there - {model.name for model in models}),
        templates=tuple(template for _, template in sorted(templates.items()) if template),
        policies=tuple(sorted(policies, key=lambda one: (one.name, one.file, one.line))),
        confirmed=_confirmed(declarations, claims),
        rollouts=rollouts_of(_of(RolloutManifest, declarations), _labels_of(declarations, claims), clashing),
        problems=_in_order(log.problems),
        warnings=_in_order(log.warnings),
        failed=log.failed,
    )


def _in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    """By file and line, and of each file no more than a person can use."""
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line))
    return tuple(each for _, of_file in groupby(ordered, lambda problem: problem.file) for each in _few(of_file))


def _few(problems: Iterable[Problem]) -> Iterator[Problem]:
    for number, problem in enumerate(problems):
        if number == MAX_PROBLEMS:
            message = f"and more: only the first {MAX_PROBLEMS} problems of a file are shown"
            yield Problem(code="MoreProblems", file=problem.file, line=problem.line, message=message)
            return
        yield problem


def _claim(document: YamlDocument, file: str) -> Iterator[Claim]:
    """The name that a document takes even when the rest of it is broken: references to it are not broken too."""
    data = document.data if isinstance(document.data, dict) else {}
    metadata = data.get("metadata")
    kind, name = data.get("kind"), metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(kind, str) and isinstance(name, str):
        yield Claim(kind=kind, name=name, file=file, line=document.line(("metadata", "name")))


def _declaration(
    read: ReadDocument, name: str, context: ParseContext, log: ProblemLog
) -> Iterator[Declaration[Manifest]]:
    """At most one: none where apiVersion or kind is wrong."""
    if read.kind is not None:
        yield Declaration(
            kind=read.kind,
            manifest=read.manifest,
            document=read.document,
            file=context.shown(name),
            name=name,
            context=context,
            log=log,
            refused=read.refused,
        )


def _templates(declarations: list[Declaration[Manifest]], claims: list[Claim]) -> Templates:
    """By name; None for one that is declared but broken."""
    templates: Templates = {claim.name: None for claim in claims if claim.kind == "PromptTemplate"}
    for shared in _of(PromptTemplateManifest, declarations):
        form = shared.manifest.spec if shared.manifest else None
        name = shared.text("metadata", "name") or ""
        template = shared.unless_we_fail(partial(template_of, form, f"PromptTemplate {name}", shared, ("spec",)))
        if form:
            templates[name] = template
    return templates


def _of(kind: type[Kind], declarations: list[Declaration[Manifest]]) -> list[Declaration[Kind]]:
    return [cast("Declaration[Kind]", one) for one in declarations if one.kind is kind]


def _same_names(claims: list[Claim], log: ProblemLog) -> Iterator[tuple[str, str]]:
    by_name: dict[tuple[str, str], list[Claim]] = defaultdict(list)
    for claim in claims:
        by_name[claim.kind, claim.name].append(claim)
    for (kind, name), (first, *others) in by_name.items():
        for other in others:
            message = f"expected a {kind} name of its own, got {name}, which {first.where} has already"
            at = Problem(code="DuplicateName", file=other.file, line=other.line, field="metadata.name", message=message)
            log.add(replace(at, hint="choose another name"))
            yield kind, name


def _wrongly_dependent(declarations: list[Declaration[Manifest]], claims: list[Claim]) -> set[str]:
    models = {each.text("metadata", "name"): each for each in _of(ModelManifest, declarations)}
    named = {name: each for name, each in models.items() if name}
    return wrongly_dependent(named, (claim.name for claim in claims if claim.kind == "Model"))


def _labels_of(declarations: list[Declaration[Manifest]], claims: list[Claim]) -> dict[str, dict[str, str]]:
    """Of each declared model, by name; none where they cannot be read."""
    found: dict[str, dict[str, str]] = {claim.name: {} for claim in claims if claim.kind == "Model"}
    for model in _of(ModelManifest, declarations):
        if name := model.text("metadata", "name"):
            path = ("metadata", "labels")
            found[name] = {key: model.text(*path, key) or "" for key in model.keys(*path)}
    return found


def _variant_names(declarations: list[Declaration[Manifest]]) -> Iterator[tuple[str, str]]:
    """`phi` at int4 is the variant `phi-int4`; a model of that name would have its id."""
    path = ("metadata", "name")
    models = [(name, each) for each in _of(ModelManifest, declarations) if (name := each.text(*path))]
    variants: dict[str, Declaration[ModelManifest]] = {}
    for name, model in models:
        precisions = model.unless_we_fail(partial(precisions_named, model))
        variants |= {variant_name(name, precision): model for precision in precisions or () if precision}
        if precisions is None:
            yield "Model", name
    for name, model in models:
        if other := variants.get(name):
            where = f"{other.file}:{other.document.line(path)}"
            message = f"expected a name of its own, got {name}, which is a variant of the model at {where}"
            model.report(path, "NameCollision", message, "choose another name")
            yield "Model", name


def _confirmed(declarations: list[Declaration[Manifest]], claims: list[Claim]) -> tuple[str, ...]:
    """The models that PruneConfirmations allow to go although many go at once, sorted. One that names a declared model
    is an error, so that a stale one cannot allow a later prune."""
    declared = {claim.name: claim.where for claim in claims if claim.kind == "Model"}
    found: set[str] = set()
    for each in _of(PruneConfirmationManifest, declarations):
        found |= each.unless_we_fail(partial(_confirmed_by, each, declared)) or set()
    return tuple(sorted(found))


def _confirmed_by(confirmation: Declaration[PruneConfirmationManifest], declared: dict[str, str]) -> set[str]:
    """`declared` is where each model is declared."""
    names = confirmation.texts("spec", "models")
    for index, name in enumerate(names):
        if name in declared:  # guard: a confirmation names nothing that is declared
            message = f"expected a model that is not declared, got {name}, which is declared at {declared[name]}"
            hint = "take the name out: that confirmation is over"
            confirmation.report(("spec", "models", index), "ConfirmedButDeclared", message, hint)
    return {name for name in names if name and name not in declared} if confirmation.manifest else set()
