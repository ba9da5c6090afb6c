"""Judges one model by one policy: a result for each rule that the policy has."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from reconciler.domain.manifest import Model
from reconciler.domain.policy.licenses import declared_license, lets_through
from reconciler.domain.policy.policy import ERROR, FAIL, PASS, PENDING, RETIRE, WARN, Policy, PolicyResult, Result
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.text.names import fits
from reconciler.domain.text.quoting import listed, shown
from reconciler.domain.text.units import size_text

FOLDER = "path"  # the name of every source that is a folder
FETCHED = "it is decided once the source is here, before it is converted"
ON_MACHINE = "it is decided on each machine"
NO_CARD = "run `reconciler lock`: it writes down what the model card says"
MOST_LISTED = 8
BUILDS = "signatures.builds"


@dataclass(frozen=True, kw_only=True)
class JudgedPart:
    """A source, or an adapter. `name` is huggingface/ORG/NAME, or FOLDER. `card` is None where there is none or, with
    `comes`, not yet. `doubt` says why its signature does not count; "" where one does, None where that is
    not known here."""

    field: str
    name: str
    card: ModelCard | None = None
    comes: bool = False
    doubt: str | None = None
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class JudgedModel:
    """What is known of a model here. Without an `architecture` its source was never here; `weight_bytes` is 0 where
    that is not known either. `gates` are those that are declared or always there, without skipped ones."""

    model: Model
    parts: tuple[JudgedPart, ...]
    architecture: str = ""
    weight_bytes: int = 0
    gates: frozenset[str] = frozenset()


_UNREADABLE = PolicyResult(
    rule="",
    result=ERROR,
    field="metadata",
    message="the policy is invalid: nothing new is served of what it may be about until it is mended",
)


def judge_model(policy: Policy, judged: JudgedModel) -> list[PolicyResult]:
    found = [_UNREADABLE] if policy.broken else _judged(policy, judged)
    return [_result(policy, judged.model, one) for one in found]


def build_result(result: PolicyResult, precision: str, doubt: str) -> PolicyResult:
    """What a machine decides of a variant for which `result` is pending: `doubt` is why the signature of its build does
    not count, "" where it does or this machine converts it itself."""
    found: Result = PASS if not doubt else FAIL if result.enforced else WARN
    return replace(result, result=found, precision=precision, message=doubt)


def _result(policy: Policy, model: Model, found: PolicyResult) -> PolicyResult:
    """What a rule found, with what is known of every rule of this policy and every field of this model."""
    softened = found.result == FAIL and not policy.enforced
    return replace(
        found,
        policy=policy.name,
        result=WARN if softened else found.result,
        model=model.name,
        file=model.file,
        line=model.line_of(found.field),
        policy_file=policy.file,
        policy_line=policy.line_of(found.rule),
        enforced=policy.enforced,
        retires=policy.rules.served == RETIRE,
    )


def _judged(policy: Policy, judged: JudgedModel) -> Iterator[PolicyResult]:
    rules = policy.rules
    for part in judged.parts:
        if rules.licenses is not None:
            yield _license(policy, part)
        if rules.sources is not None:
            yield _source(rules.sources, part)
        if rules.signatures is not None and rules.signatures.sources:
            yield _signature(part)
    if rules.max_source_size is not None:
        yield _size(int(rules.max_source_size), judged)
    if rules.architectures is not None:
        yield _architecture(rules.architectures, judged)
    if rules.precisions is not None:
        yield from _precisions(rules.precisions, judged.model)
    if rules.gates is not None:
        yield _gates(rules.gates, judged.gates)
    if rules.signatures is not None and rules.signatures.builds:
        yield PolicyResult(rule=BUILDS, result=PENDING, field="metadata.name", message=ON_MACHINE)


def _license(policy: Policy, part: JudgedPart) -> PolicyResult:
    rule = policy.rules.licenses
    assert rule is not None
    if part.card is None and part.comes:
        message = f"the licence of {part.name} is not known yet: {FETCHED}"
        return PolicyResult(rule="licenses", result=PENDING, field=part.field, message=message, fetches=True)
    expression = declared_license(part.card) if part.card is not None else ""
    if not expression:
        return _unknown_license(part, WARN if rule.unknown == "warn" else FAIL)
    if lets_through(expression, rule.takes):
        return PolicyResult(rule="licenses", result=PASS, field=part.field, message=expression)
    if rule.allow is not None:
        message = f"expected {_some(rule.allow)}, got {expression}"
    else:
        message = f"expected none of {_some(rule.deny or ())}, got {expression}"
    return PolicyResult(rule="licenses", result=FAIL, field=part.field, message=message)


def _unknown_license(part: JudgedPart, otherwise: Result) -> PolicyResult:
    card = part.card
    if card is None:
        message, hint = "expected a licence, but no model card is here", NO_CARD if part.name != FOLDER else ""
        hint = hint or "add a README.md with `license:` between two lines of ---"
    else:
        got = ", ".join(shown(one) for one in (*card.licenses, card.license_name) if one) or "none"
        message, hint = f"expected a licence that SPDX or its own name tells, got {got}", "see docs/policy.md"
    return PolicyResult(rule="licenses", result=otherwise, field=part.field, message=message, hint=hint)


def _source(patterns: tuple[str, ...], part: JudgedPart) -> PolicyResult:
    # The hub does not tell upper from lower case.
    if any(fits(one.lower(), part.name.lower()) for one in patterns):
        return PolicyResult(rule="sources", result=PASS, field=part.field, message=part.name)
    message = f"expected {_some(patterns)}, got {part.name}"
    return PolicyResult(rule="sources", result=FAIL, field=part.field, message=message)


def _signature(part: JudgedPart) -> PolicyResult:
    rule, field = "signatures.sources", part.field
    if part.doubt is None:
        return PolicyResult(rule=rule, result=PENDING, field=field, message=ON_MACHINE)
    if not part.doubt:
        return PolicyResult(rule=rule, result=PASS, field=field)
    return PolicyResult(rule=rule, result=FAIL, field=field, message=part.doubt, hint=part.hint)


def _size(most: int, judged: JudgedModel) -> PolicyResult:
    rule, field, found = "maxSourceSize", "spec.source", judged.weight_bytes
    if not found:
        return PolicyResult(
            rule=rule, result=PENDING, field=field, message=f"its size is not known yet: {FETCHED}", fetches=True
        )
    if found <= most:
        return PolicyResult(rule=rule, result=PASS, field=field, message=size_text(found))
    message = f"expected weights of at most {size_text(most)}, got {size_text(found)}"
    return PolicyResult(rule=rule, result=FAIL, field=field, message=message)


def _architecture(allowed: tuple[str, ...], judged: JudgedModel) -> PolicyResult:
    rule, field, found = "architectures", "spec.source", judged.architecture
    if not found:
        message = f"its architecture is not known yet: {FETCHED}"
        return PolicyResult(rule=rule, result=PENDING, field=field, message=message, fetches=True)
    if found in allowed:
        return PolicyResult(rule=rule, result=PASS, field=field, message=found)
    return PolicyResult(rule=rule, result=FAIL, field=field, message=f"expected {_some(allowed)}, got {shown(found)}")


def _precisions(allowed: tuple[str, ...], model: Model) -> Iterator[PolicyResult]:
    for index, precision in enumerate(model.precisions):
        field = "spec.precisions" if model.chooses else f"spec.precisions[{index}]"
        is_allowed = precision in allowed
        message = precision if is_allowed else f"expected {_some(allowed)}, got {precision}"
        yield PolicyResult(
            rule="precisions", result=PASS if is_allowed else FAIL, field=field, message=message, precision=precision
        )


def _gates(names: tuple[str, ...], declared: frozenset[str]) -> PolicyResult:
    missing = [one for one in names if one not in declared]
    if not missing:
        return PolicyResult(rule="gates", result=PASS, field="spec.gates")
    message = f"expected the gates {', '.join(names)}, without {', '.join(missing)}"
    hint = f"declare under spec.gates: {', '.join(missing)} (docs/manifests/gates.md)"
    return PolicyResult(rule="gates", result=FAIL, field="spec.gates", message=message, hint=hint)


def _some(words: tuple[str, ...]) -> str:
    return listed(words) if len(words) <= MOST_LISTED else f"one of {len(words)} that are listed"
