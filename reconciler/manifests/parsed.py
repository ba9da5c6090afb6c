"""What a folder of manifests means, and its remembered form.

Parsing is a pure function of the manifests' bytes and of the answers to the questions it asks about the disk (what
does this path lead to, what is in this template file). So a parse is remembered together with its inputs, and holds as
long as asking again gives the same answers: a `plan` on unchanged files loads neither a YAML parser nor the schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import reconciler
from reconciler.domain import digest
from reconciler.domain.bars import (
    EnduranceGate,
    FidelityGate,
    Fixture,
    Gates,
    GoldenPrompt,
    LoadGate,
    PerformanceGate,
    PromptsGate,
)
from reconciler.domain.errors import Problem
from reconciler.domain.hub import HubSource, LockedFile
from reconciler.domain.manifest import (
    Generation,
    Model,
    Quantization,
    Requirement,
    Roles,
    Selector,
    Target,
    Template,
)
from reconciler.domain.value import as_dict

# Raise it when the meaning of a manifest or of the remembered form changes.
FORMAT = 10


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """Everything that was declared. A model with a problem is not in `models`, so never prune while there are any.

    `revision` names exactly these declarations: `folder@sha256:<hex>` for files on disk.
    """

    revision: str = ""
    models: tuple[Model, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    templates: tuple[Template, ...] = ()  # the PromptTemplates, whether or not a model refers to them
    confirmed: tuple[str, ...] = ()  # models that may go though many go at once (PruneConfirmation)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a path leads to, symlinks followed: `kind` is file, folder, other or missing; or unknown, where a folder may
    be that cannot be looked at from here."""

    path: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that a parse depends on.

    `manifests` are digests by file name, `places` what each asked path led to, `templates` the digest of each other
    file that was read, templates and the lock file (None: it could not be read).
    """

    base: str
    prefix: str
    roots: tuple[str, ...]
    manifests: Mapping[str, str]
    places: Mapping[str, Place] = field(default_factory=dict)
    templates: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def revision(self) -> str:
        """The declarations alone: neither where they lie nor what else is on the disk."""
        declared = {"manifests": self.manifests, "templates": sorted(t for t in self.templates.values() if t)}
        return f"folder@{digest.of_value(declared)}"


def remember(parsed: Parsed, inputs: Inputs) -> bytes:
    """The remembered form: a line that says of which program and bytes, then the parse and its inputs."""
    said = as_dict(parsed)
    parts = _take_parts(said["models"])
    whole = {"inputs": as_dict(inputs), "parts": parts, "parsed": said}
    body = json.dumps(whole, separators=(",", ":")).encode()
    return b"%s\n%s\n" % (_label(body), body)


def recall(data: bytes) -> tuple[Parsed, Inputs] | None:
    """The inverse of `remember`. Damaged, or of another version of this program: then it is no memory at all."""
    label, _, rest = data.partition(b"\n")
    body = rest.removesuffix(b"\n")
    if label != _label(body):
        return None
    value = json.loads(body.decode())
    return _parsed(value["parsed"], value["parts"]), _inputs(value["inputs"])


def _label(body: bytes) -> bytes:
    return digest.canonical(
        {"format": FORMAT, "program": reconciler.__version__, "digest": digest.of_bytes(body)}
    )


def _take_parts(models: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """What the models of a fleet say alike is remembered once: in its place stands its number."""
    taken: dict[str, list[Any]] = {name: [] for name in _PARTS}
    numbers: dict[tuple[str, str], int] = {}
    for model in models:
        for name, parts in taken.items():
            number = numbers.setdefault((name, json.dumps(model[name])), len(parts))
            if number == len(parts):
                parts.append(model[name])
            model[name] = number
    return taken


def _parsed(value: dict[str, Any], parts: dict[str, list[Any]]) -> Parsed:
    made = {name: list(map(make, parts[name])) for name, make in _PARTS.items()}
    return Parsed(
        revision=value["revision"],
        models=tuple(_model(model, made) for model in value["models"]),
        problems=tuple(Problem(**problem) for problem in value["problems"]),
        warnings=tuple(Problem(**warning) for warning in value["warnings"]),
        templates=tuple(map(_template, value["templates"])),
        confirmed=tuple(value["confirmed"]),
    )


def _model(value: dict[str, Any], made: dict[str, list[Any]]) -> Model:
    parts = {name: held[value[name]] for name, held in made.items()}
    return Model(**value | parts | {"precisions": tuple(value["precisions"])})


def _selector(value: dict[str, Any] | None) -> Selector | None:
    if value is None:
        return None
    expressions = tuple(
        Requirement(**one | {"values": tuple(one["values"])}) for one in value["match_expressions"]
    )
    return Selector(match_labels=value["match_labels"], match_expressions=expressions)


def _hub(value: dict[str, Any] | None) -> HubSource | None:
    if value is None:
        return None
    files = tuple(LockedFile(**file) for file in value["files"])
    return HubSource(**value | {"include": tuple(value["include"]), "files": files})


def _template(value: dict[str, Any]) -> Template:
    roles = value["roles"]
    return Template(
        origin=value["origin"],
        jinja=value["jinja"],
        roles=Roles(**roles) if roles else None,
        fixtures=tuple(map(_fixture, value["fixtures"])),
    )


def _fixture(value: dict[str, Any]) -> Fixture:
    return Fixture(**value | {"messages": tuple((role, text) for role, text in value["messages"])})


def _gates(value: dict[str, Any]) -> Gates:
    prompts, performance, endurance = (value[name] for name in ("prompts", "performance", "endurance"))
    return Gates(
        fidelity=FidelityGate(**value["fidelity"]),
        load=LoadGate(**value["load"]),
        prompts=PromptsGate(**prompts | {"cases": tuple(map(_golden, prompts["cases"]))})
        if prompts
        else None,
        performance=PerformanceGate(**performance | {"prompt_lengths": tuple(performance["prompt_lengths"])})
        if performance
        else None,
        endurance=EnduranceGate(**endurance) if endurance else None,
        fixtures=tuple(map(_fixture, value["fixtures"])),
    )


def _golden(value: dict[str, Any]) -> GoldenPrompt:
    return GoldenPrompt(**value | {"messages": tuple((role, text) for role, text in value["messages"])})


_PARTS: dict[str, Callable[[Any], object]] = {
    "hub": _hub,
    "quantization": lambda value: Quantization(**value),
    "target": lambda value: Target(**value),
    "template": _template,
    "generation": lambda value: Generation(**value),
    "node_selector": _selector,
    "gates": _gates,
}


def _inputs(value: dict[str, Any]) -> Inputs:
    places = {path: Place(**place) for path, place in value["places"].items()}
    return Inputs(**value | {"roots": tuple(value["roots"]), "places": places})
