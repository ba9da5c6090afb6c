"""From declared policies to `Policy`, and what their types do not refuse. A policy that cannot be read still closes: it
is a broken one, about the models that its selector names where that can be read, else about all."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from reconciler.domain.manifest import LabelSelector, Model
from reconciler.domain.policy.licenses import meant, one_license
from reconciler.domain.policy.policy import LicenseRule, Policy, PolicyRules
from reconciler.domain.text.quoting import field_path, listed, nearest, shown
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.described import value_of, values_of
from reconciler.manifests.gate_schema import DECLARED
from reconciler.manifests.loader import Path, YamlDocument
from reconciler.manifests.problems import FieldProblem
from reconciler.manifests.schema import PolicyManifest, Selector
from reconciler.manifests.selector import is_key, is_value, mismatch
from reconciler.manifests.selectors.rules import wrong_values

KIND = "Policy"
UNNAMED = "without a name"
_MENTIONED = re.compile(rb"""kind["']?[ \t]*:[ \t]*["']?policy\b""", re.IGNORECASE)
_STRICT = PolicyRules()
_LEAVES_OUT = ("NotIn", "DoesNotExist")  # operators that take models out: also all of them, where that is meant


def policy_of(declaration: Declaration[PolicyManifest]) -> Policy:
    """Broken where anything is wrong with it, which is reported."""
    document, given = declaration.document, declaration.manifest
    before = len(declaration.log.problems)
    if given is not None:
        rules, selector = rules_of(given.spec), _selector(given.spec.selector)
        wrong = [*rule_problems(rules), *_selector_problems(selector)]
        for path, message, hint in wrong:
            declaration.report(("spec", *path), "InvalidValue", message, hint)
        if len(declaration.log.problems) == before:
            return Policy(
                name=given.metadata.name,
                file=declaration.file,
                line=document.line(()),
                rules=with_ids(rules),
                selector=selector,
                lines=lines_of(document, ("spec",)),
            )
    return broken_policy(document, declaration.file)


def rules_of(written: object) -> PolicyRules:
    """Of a Policy's spec, or of a policy in a machine's configuration."""
    return PolicyRules(**values_of(PolicyRules, written))  # type: ignore[arg-type]  # made of PolicyRules


def lines_of(document: YamlDocument, above: Path) -> dict[str, int]:
    """Where the rules of PolicyRules stand, by field."""
    rules = (name for name in document.lines if name[: len(above)] == above and len(name) > len(above))
    return {field_path(name[len(above) :]): document.lines[name] for name in rules}


def rule_problems(rules: PolicyRules) -> Iterator[FieldProblem]:
    """What the types of single fields do not refuse, with paths below the rules. A rule that was mistyped would take
    what it should not."""
    licenses = rules.licenses
    if licenses is not None:
        if (licenses.allow is None) == (licenses.deny is None):
            found = "none of them" if licenses.allow is None else "both"
            yield ("licenses",), f"expected either allow or deny, got {found}", ""
        for name, ids in (("allow", licenses.allow), ("deny", licenses.deny)):
            yield from (
                (("licenses", name, index), f"expected the id of a licence, got {shown(one)}", meant(one))
                for index, one in enumerate(ids or ())
                if not one_license(one)
            )
    for index, name in enumerate(rules.gates or ()):
        if name not in DECLARED:
            yield ("gates", index), f"expected {listed(DECLARED)}, got {shown(name)}", nearest(name, DECLARED)
    if rules.signatures is not None and not (rules.signatures.sources or rules.signatures.builds):
        yield ("signatures",), "expected sources: true or builds: true, got neither", "or delete the field"


def with_ids(rules: PolicyRules) -> PolicyRules:
    """With its licences as SPDX's list spells them."""
    if rules.licenses is None:
        return rules
    allow, deny = (
        None if ids is None else tuple(map(one_license, ids)) for ids in (rules.licenses.allow, rules.licenses.deny)
    )
    return replace(rules, licenses=LicenseRule(allow=allow, deny=deny, unknown=rules.licenses.unknown))


def _selector(written: object) -> LabelSelector | None:
    return None if written is None else value_of(LabelSelector, written)  # type: ignore[arg-type]


def _selector_problems(selector: LabelSelector | None) -> Iterator[FieldProblem]:
    """A label that no model can have would take models out in silence."""
    for key, value in (selector.match_labels if selector else {}).items():
        if not (is_key(key) and is_value(value)):
            message = f"expected a label as in Kubernetes, got {shown(key)}: {shown(value)}"
            yield ("selector", "matchLabels", key), message, ""
    for index, one in enumerate(selector.match_expressions if selector else ()):
        place = ("selector", "matchExpressions", index)
        if not is_key(one.key):
            yield (*place, "key"), f"expected the key of a label as in Kubernetes, got {shown(one.key)}", ""
        for number, value in enumerate(one.values):
            if not is_value(value):
                message = f"expected the value of a label as in Kubernetes, got {shown(value)}"
                yield (*place, "values", number), message, ""
        if wrong := wrong_values(one.operator, one.values):
            yield place, wrong, ""


def warn_if_idle(declaration: Declaration[PolicyManifest], models: Sequence[Model]) -> None:
    """Of a policy whose selector takes none of `models`, which are all that are declared: a misspelt label switches it
    off in silence. What the selector leaves out on purpose is no reason to warn."""
    given = declaration.manifest
    selector = _selector(given.spec.selector) if given is not None else None
    if given is None or selector is None or not models:
        return
    asked = tuple(one for one in selector.match_expressions if one.operator not in _LEAVES_OUT)
    if not all(mismatch(replace(selector, match_expressions=asked), model.labels) for model in models):
        return
    known = sorted({key for model in models for key in model.labels})
    keys = (*selector.match_labels, *(one.key for one in asked))
    hints = (nearest(key, known) for key in keys if key not in known)
    which = f"selects none of the {len(models)} models that are declared"
    message = f"policy {given.metadata.name} {which if len(models) > 1 else 'does not select the only declared model'}"
    hint = next(filter(None, hints), "")
    declaration.report(("spec", "selector"), "PolicySelectsNothing", message, hint, serious=False)


def broken_policy(document: YamlDocument, file: str) -> Policy:
    """As much of it as can be read says how strictly it is taken."""
    data = document.data if isinstance(document.data, dict) else {}
    metadata, spec = (one if isinstance(one, dict) else {} for one in (data.get("metadata"), data.get("spec")))
    name = metadata.get("name")
    warns = spec.get("mode") == "warn"
    return Policy(
        name=shown(str(name)) if isinstance(name, str) and name else UNNAMED,
        file=file,
        line=document.line(()),
        rules=PolicyRules(mode="warn") if warns else _STRICT,
        selector=_readable_selector(spec),
        broken=True,
    )


def _readable_selector(spec: dict[object, object]) -> LabelSelector | None:
    """None, which is every model, for one that cannot be read."""
    if "selector" not in spec:
        return None
    try:
        selector = _selector(Selector.model_validate(spec["selector"]))
    except ValueError:
        return None
    return None if any(_selector_problems(selector)) else selector


def unread_policies(file: str, data: bytes, seen: int, *, damaged: bool) -> Iterator[Policy]:
    """Of a file that is `damaged`: a policy about everything where `kind: Policy` stands in it more often than the
    policies that were `seen`."""
    # guard: a policy that cannot be read closes
    if damaged and len(_MENTIONED.findall(data)) > seen:
        yield Policy(name=UNNAMED, file=file, line=1, rules=_STRICT, broken=True)


def is_policy(document: YamlDocument) -> bool:
    """Of a document that is not another program's."""
    kind = document.data.get("kind") if isinstance(document.data, dict) else None
    return isinstance(kind, str) and kind.lower() == KIND.lower()
