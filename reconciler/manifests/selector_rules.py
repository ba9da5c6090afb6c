"""Rules of `spec.nodeSelector` that look at more than one field. Pure; part of manifests.model_rules."""

from reconciler.domain.text.quoting import listed, nearest, shown
from reconciler.manifests.declaration import Declaration, ProblemLog
from reconciler.manifests.loader import Path
from reconciler.manifests.schema import ModelManifest
from reconciler.manifests.selector import OWN_KEYS, PROVIDER, RESERVED, as_whole, is_key, is_value

LABELS = ("spec", "nodeSelector", "matchLabels")
EXPRESSIONS = ("spec", "nodeSelector", "matchExpressions")
_KEY = "a label's key: letters, digits, dashes, dots and underscores, at most 63, perhaps behind a domain and a slash"
_VALUE = "a label's value: at most 63 letters, digits, dashes, dots and underscores"


def check_selector(declaration: Declaration[ModelManifest], findings: ProblemLog) -> None:
    for key in declaration.keys(*LABELS):
        _check_key(declaration, (*LABELS, key), key, findings)
        _check_value(declaration, (*LABELS, key), findings)
    for index in range(len(declaration.texts(*EXPRESSIONS))):
        path = (*EXPRESSIONS, index)
        written = declaration.text(*path, "key")
        if written is not None:
            _check_key(declaration, (*path, "key"), written, findings)
        _check_values(declaration, path, findings)


def _check_key(declaration: Declaration[ModelManifest], path: Path, key: str, findings: ProblemLog) -> None:
    if not is_key(key):
        findings.add(declaration.problem(path, "InvalidValue", f"expected {_KEY}, got {shown(key)}"))
    elif key.startswith(RESERVED) and key not in OWN_KEYS and not key.startswith(PROVIDER):
        known = (*OWN_KEYS, f"{PROVIDER}<name>")
        message = f"expected {listed(known)}, got {shown(key)}"
        findings.add(declaration.problem(path, "InvalidValue", message, nearest(key, OWN_KEYS)))


def _check_value(declaration: Declaration[ModelManifest], path: Path, findings: ProblemLog) -> None:
    value = declaration.text(*path)
    if value is not None and not is_value(value):
        findings.add(declaration.problem(path, "InvalidValue", f"expected {_VALUE}, got {shown(value)}"))


def _check_values(declaration: Declaration[ModelManifest], path: Path, findings: ProblemLog) -> None:
    operator, values = declaration.text(*path, "operator"), declaration.texts(*path, "values")
    for index in range(len(values)):
        _check_value(declaration, (*path, "values", index), findings)
    wrong = _wrong(operator, values)
    if wrong:
        got = f"{len(values)} value(s)" if wrong != _NUMBER else shown(values[0] or "")
        findings.add(declaration.problem((*path, "values"), "InvalidValue", f"expected {wrong}, got {got}"))


_NUMBER = "a whole number for Gt and Lt"


def _wrong(operator: str | None, values: list[str | None]) -> str:
    if operator in ("In", "NotIn") and not values:
        return f"at least one value for {operator}"
    if operator in ("Exists", "DoesNotExist") and values:
        return f"no values for {operator}"
    if operator in ("Gt", "Lt") and len(values) != 1:
        return f"one whole number for {operator}"
    if operator in ("Gt", "Lt") and values[0] is not None and as_whole(values[0]) is None:
        return _NUMBER
    return ""
