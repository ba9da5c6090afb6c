"""A selector of labels (`nodeSelector`, `selector`) as an author wrote it: keys and values have Kubernetes' form, and
each operator has the values that it needs."""

from collections.abc import Sequence
from typing import TypeVar

from reconciler.domain.text.quoting import count_of, listed, nearest, shown
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.loader import Path
from reconciler.manifests.schema import Manifest
from reconciler.manifests.selector import OWN_KEYS, PROVIDER, RESERVED, as_whole, is_key, is_value

Kind = TypeVar("Kind", bound=Manifest)

_KEY = "a label's key: letters, digits, dashes, dots and underscores, at most 63, perhaps behind a domain and a slash"
_VALUE = "a label's value: at most 63 letters, digits, dashes, dots and underscores"


def check_selector(declaration: Declaration[Kind], field: Path, *, of_machines: bool = True) -> None:
    """The selector in that field. `of_machines`: reserved keys are those that a machine has of itself; the labels of
    models have none."""
    labels, expressions = (*field, "matchLabels"), (*field, "matchExpressions")
    for key in declaration.keys(*labels):
        _check_key(declaration, (*labels, key), key, of_machines)
        _check_value(declaration, (*labels, key))
    for index in range(len(declaration.texts(*expressions))):
        path = (*expressions, index)
        if (written := declaration.text(*path, "key")) is not None:
            _check_key(declaration, (*path, "key"), written, of_machines)
        _check_values(declaration, path)


def _check_key(declaration: Declaration[Kind], path: Path, key: str, of_machines: bool) -> None:
    if not is_key(key):
        declaration.report(path, "InvalidValue", f"expected {_KEY}, got {shown(key)}")
    elif of_machines and key.startswith(RESERVED) and key not in OWN_KEYS and not key.startswith(PROVIDER):
        message = f"expected {listed((*OWN_KEYS, f'{PROVIDER}<name>'))}, got {shown(key)}"
        declaration.report(path, "InvalidValue", message, nearest(key, OWN_KEYS))


def _check_value(declaration: Declaration[Kind], path: Path) -> None:
    value = declaration.text(*path)
    if value is not None and not is_value(value):
        declaration.report(path, "InvalidValue", f"expected {_VALUE}, got {shown(value)}")


def _check_values(declaration: Declaration[Kind], path: Path) -> None:
    values = declaration.texts(*path, "values")
    for index in range(len(values)):
        _check_value(declaration, (*path, "values", index))
    if wrong := wrong_values(declaration.text(*path, "operator"), values):
        declaration.report((*path, "values"), "InvalidValue", wrong)


def wrong_values(operator: str | None, values: Sequence[str | None]) -> str:
    """What was expected instead of them; "" where they fit the operator."""
    match operator:
        case "In" | "NotIn" if not values:
            expected = f"at least one value for {operator}"
        case "Exists" | "DoesNotExist" if values:
            expected = f"no values for {operator}"
        case "Gt" | "Lt" if len(values) != 1:
            expected = f"one whole number for {operator}"
        case "Gt" | "Lt" if values[0] is not None and as_whole(values[0]) is None:
            return f"expected a whole number for Gt and Lt, got {shown(values[0])}"
        case _:
            return ""
    return f"expected {expected}, got {count_of(len(values), 'value')}"
