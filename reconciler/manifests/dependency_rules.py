"""`spec.dependsOn` across manifests: each name is that of another declared model, and no chain of them leads back."""

from collections.abc import Iterable, Mapping
from functools import partial

from reconciler.domain.text.quoting import nearest
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.schema import ModelManifest

FIELD = ("spec", "dependsOn")

Models = Mapping[str, Declaration[ModelManifest]]


def wrongly_dependent(models: Models, declared: Iterable[str]) -> set[str]:
    """The names of those whose dependencies are wrong, which is reported. `declared` are all names of models, also of
    those that have another problem."""
    declared = frozenset(declared)
    depends = {name: [one or "" for one in each.texts(*FIELD)] for name, each in models.items()}
    depends = {name: names for name, names in depends.items() if names}
    wrong = {
        name
        for name, names in depends.items()
        if models[name].unless_we_fail(partial(_misnames, name, names, declared, models[name])) is not False
    }
    circular = _in_circles(depends)
    for name in sorted(circular):
        models[name].unless_we_fail(partial(_report_circle, name, depends, circular, models[name]))
    return wrong | circular


def _report_circle(
    name: str, depends: Mapping[str, list[str]], circular: set[str], declaration: Declaration[ModelManifest]
) -> None:
    path = _circle(name, depends, circular)
    message = f"expected models that do not depend on this one, got {' -> '.join(path)}"
    declaration.report((*FIELD, depends[name].index(path[1])), "DependencyCycle", message, "take one of them out")


def _misnames(name: str, names: list[str], declared: frozenset[str], declaration: Declaration[ModelManifest]) -> bool:
    wrong = False
    for index, one in enumerate(names):
        if not one:
            continue  # refused already
        if one not in declared:
            message = f"expected the name of a Model, but there is no {one}"
            declaration.report((*FIELD, index), "UnknownReference", message, nearest(one, declared - {name}))
            wrong = True
        elif one in names[:index]:
            declaration.report((*FIELD, index), "InvalidValue", f"expected each model once, got {one} again")
            wrong = True
    return wrong


def _in_circles(depends: Mapping[str, list[str]]) -> set[str]:
    """What is left when models without dependencies, and those that none depends on, are taken away again and again."""
    left = set(depends)
    while True:
        named = {one for name in left for one in depends[name]}
        kept = {name for name in left & named if left.intersection(depends[name])}
        if kept == left:
            return left
        left = kept


def _circle(name: str, depends: Mapping[str, list[str]], circular: set[str]) -> list[str]:
    """From a model through what it depends on, until one comes again."""
    path = [name]
    while True:
        following = [one for one in depends[path[-1]] if one in circular]
        path.append(name if name in following else following[0])
        if path[-1] in path[:-1]:
            return path
