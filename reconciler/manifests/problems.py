"""Problems from what the schema refuses: one per mistake, with its line, its field and the nearest name."""

from collections.abc import Collection, Iterator
from copy import deepcopy
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.domain.errors import Problem
from reconciler.domain.text.quoting import field_path, listed, nearest, shown
from reconciler.manifests.field_types import PRECISION_FORMS, REFUSAL, TEMPLATE_FORMS, got, is_null
from reconciler.manifests.loader import Path, YamlDocument

MAX_PROBLEMS = 50  # that are reported of one file

Kind = TypeVar("Kind", bound=BaseModel)

FieldProblem = tuple[Path, str, str]  # what a type lets through and a rule does not: path, message, hint ("" for none)

_CONTAINERS = {
    "model_type": ("WrongType", "a mapping"),
    "dict_type": ("WrongType", "a mapping"),
    "list_type": ("WrongType", "a list"),
    "too_short": ("InvalidValue", "at least one item"),
    "too_long": ("InvalidValue", "fewer items"),
}

# Fields that people know from elsewhere, and what to write instead.
_SPECIAL_HINTS = {
    "doSample": "the runtime ignores do_sample; write `topK: 1` for greedy answers",
    "do_sample": "the runtime ignores do_sample; write `topK: 1` for greedy answers",
    "isSymmetric": "write `symmetric`",
    "maxTokens": "write `maxLength`: prompt and answer together",
    "namespace": "there are no namespaces here: a name is one for the whole repository; delete the field",
    "status": "what a machine makes of it is in its records (`reconciler status`), never in git; delete the field",
    **dict.fromkeys(
        ("creationTimestamp", "generateName", "managedFields", "ownerReferences", "resourceVersion", "uid"),
        "Kubernetes keeps that of objects that it stores; delete the field",
    ),
    "memoryLimit": "what a conversion may hold is `conversionMemory` in the machine's config.yaml",
}


def accepted(document: YamlDocument, file: str, kind: type[Kind]) -> Kind | tuple[Problem, ...]:
    """The document as a manifest of that kind, or everything that speaks against it."""
    try:
        return kind.model_validate(document.data)
    except ValidationError as error:
        # Finding the nearest name takes time: not for every one of a thousand wrong fields.
        details = error.errors(include_url=False)[: MAX_PROBLEMS + 1]
        problems = (_problem(detail, document, file, kind) for detail in details)
        return tuple(sorted(problems, key=lambda one: one.line))


def readable_rest(document: YamlDocument, kind: type[Kind], needed: Collection[Path], unneeded: Path) -> Kind | None:
    """What the document says without the fields that are refused, for checks that do not depend on these. None where
    one of them is a field of `needed`, lies in one or holds one, and where nothing can be read without it. Of the field
    `unneeded` nothing stays if anything in it is refused."""
    try:
        return kind.model_validate(document.data)
    except ValidationError as error:
        places = (_written(detail) for detail in error.errors(include_url=False))
        refused = list(dict.fromkeys(unneeded if one[: len(unneeded)] == unneeded else one for one in places))
    if any(path[: len(one)] == one[: len(path)] for path in refused for one in needed):
        return None
    data = deepcopy(document.data)
    try:
        for path in reversed(refused):  # of a list the last one first, so that the places of others stay right
            _take_out(data, path)
        return kind.model_validate(data)
    except (LookupError, TypeError, ValidationError):
        return None


def _take_out(data: Any, path: Path) -> None:
    for part in path[:-1]:
        data = data[part]
    del data[path[-1]]


def _written(detail: ErrorDetails) -> Path:
    """Its place in the document: tags of unions stand in pydantic's path only."""
    return tuple(part for part in detail["loc"] if part not in (*TEMPLATE_FORMS, *PRECISION_FORMS))


def _problem(detail: ErrorDetails, document: YamlDocument, file: str, model: type[BaseModel]) -> Problem:
    path = _written(detail)
    code, message, hint = _words(detail, path, model)
    return Problem(code=code, file=file, line=document.line(path), field=field_path(path), message=message, hint=hint)


def _words(detail: ErrorDetails, path: Path, model: type[BaseModel]) -> tuple[str, str, str]:
    """(code, message, hint). Types of our own bring theirs; the rest are the containers between them."""
    context: dict[str, Any] = detail.get("ctx", {})
    kind = detail["type"]
    if kind == REFUSAL:
        return context["code"], context["message"], context["hint"]
    if kind == "extra_forbidden":
        return _unknown_field(path, model)
    if kind == "missing":
        return "MissingField", "expected a value, got nothing", _only_value_hint(path, model)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return "InvalidValue", f"expected {_forms(path, model)}, got {_got_forms(detail['input'])}", ""
    code, expected = _CONTAINERS.get(kind, ("InvalidValue", "another value"))
    return code, f"expected {expected}, got {got(detail['input'])}", _form_hint(expected, detail["input"], path, model)


def _form_hint(expected: str, value: object, path: Path, model: type[BaseModel]) -> str:
    """How what was written looks as what was expected."""
    if expected == "a mapping":
        return _mapping_hint(value, known_fields(model, path))
    if expected == "a list" and isinstance(value, dict) and value:
        return f"write a list, each item behind a dash: `- {shown(next(iter(value)))}: ...`"
    return f"write [{shown(value)}]" if expected == "a list" and isinstance(value, str) and value else ""


def _mapping_hint(value: object, known: list[str]) -> str:
    if isinstance(value, list):
        return "write `name: value`, without a dash"
    if not isinstance(value, str) or not known or is_null(value):
        return ""
    if value in known:
        return f"write `{value}: ...`"
    if value and (len(known) == 1 or ("path" in known and value.startswith((".", "/", "~")))):
        return f"write {{{known[0]}: {shown(value)}}}"
    return f"write its fields: {', '.join(known)}"


def _forms(path: Path, model: type[BaseModel]) -> str:
    """What a template may be at this place: a PromptTemplate names neither a preset nor another one."""
    if "ref" in known_fields(model, path):
        return "one template: the name of a preset, or one of ref, roles and jinja"
    return "one template: either roles or jinja"


def _got_forms(value: object) -> str:
    named = [form for form in TEMPLATE_FORMS if isinstance(value, dict) and form.strip("<>") in value]
    return " and ".join(form.strip("<>") for form in named) or got(value)


def _unknown_field(path: Path, model: type[BaseModel]) -> tuple[str, str, str]:
    *parents, name = path
    known = known_fields(model, tuple(parents))
    expected = f"expected {listed(known)}" if known else "expected no field here"
    hint = _SPECIAL_HINTS.get(str(name)) or nearest(str(name), known)
    return "UnknownField", f"{expected}, got {shown(str(name))}", hint


def _only_value_hint(path: Path, model: type[BaseModel]) -> str:
    """For a field that can have one value only, such as apiVersion."""
    *parents, name = path
    for holder in _models_at(model, tuple(parents)):
        for field in holder.model_fields.values():
            if field.alias == name and get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
                return f"write `{name}: {get_args(field.annotation)[0]}`"
    return ""


def known_fields(model: type[BaseModel], path: Path) -> list[str]:
    """The names of the fields at `path`, by walking the types; the fields of all forms where there are several."""
    return list(dict.fromkeys(str(f.alias) for m in _models_at(model, path) for f in m.model_fields.values()))


def _models_at(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    models = [model]
    for part in (part for part in path if not isinstance(part, int)):  # an index changes nothing
        fields = [f for m in models for f in m.model_fields.values() if f.alias == part]
        models = [inner for f in fields for inner in _models_in(f.annotation)]
    return models


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
