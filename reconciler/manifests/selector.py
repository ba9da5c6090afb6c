"""Which machine a model is for: `spec.nodeSelector` against a machine's labels, by the rules of Kubernetes. Pure.

A machine's labels are those of its configuration and, under reserved keys, what it knows of itself:

    reconciler.foundry/name        its name                        edge-7
    reconciler.foundry/os          linux | darwin | windows
    reconciler.foundry/arch        amd64 | arm64 | ...
    reconciler.foundry/memory      GiB, rounded to the nearest     16
    reconciler.foundry/cpus        logical ones                    8
    reconciler.foundry/provider-X  "true" for each ONNX Runtime execution provider X whose library is installed
"""

import re
from collections.abc import Mapping

from reconciler.domain.machine.facts import Facts
from reconciler.domain.manifest import LabelSelector, Requirement
from reconciler.domain.targets.execution_providers import PROVIDER_LABEL

RESERVED = "reconciler.foundry/"
PROVIDER = PROVIDER_LABEL
OWN_KEYS = tuple(RESERVED + name for name in ("name", "os", "arch", "memory", "cpus"))

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}/)([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?/")
_WHOLE = re.compile(r"[-+]?[0-9]{1,19}")


def labels_of(name: str, labels: Mapping[str, str], facts: Facts) -> dict[str, str]:
    """All labels of a machine. Its own cannot be overridden: a configuration may not use the reserved prefix."""
    memory = (facts.memory_bytes + (1 << 29)) >> 30
    own = dict(zip(OWN_KEYS, (name, facts.os, facts.arch, str(memory), str(facts.cpus)), strict=True))
    providers = {PROVIDER + provider: "true" for provider in facts.execution_providers}
    return {**labels, **own, **providers}


def mismatch(selector: LabelSelector, labels: Mapping[str, str]) -> str:
    """Why it is not for such a machine, or model: the first requirement that fails. "" when all hold; an empty selector
    holds everywhere."""
    for key, wanted in sorted(selector.match_labels.items()):
        if labels.get(key) != wanted:
            return f"{key} is {labels.get(key, 'not set')}, wants {wanted}"
    for requirement in selector.match_expressions:
        if not _holds(requirement, labels.get(requirement.key)):
            values = f" {', '.join(requirement.values)}" if requirement.values else ""
            found = labels.get(requirement.key, "not set")
            return f"{requirement.key} is {found}, wants {requirement.operator}{values}"
    return ""


def _holds(requirement: Requirement, found: str | None) -> bool:
    """NotIn holds where the label is not set; Gt and Lt hold only between whole numbers."""
    operator, values = requirement.operator, requirement.values
    if operator in ("Exists", "DoesNotExist"):
        return (found is not None) == (operator == "Exists")
    if operator == "In":
        return found in values
    if operator == "NotIn":
        return found not in values
    number, limit = as_whole(found or ""), as_whole(values[0])
    if number is None or limit is None:
        return False
    return number > limit if operator == "Gt" else number < limit


def as_whole(text: str) -> int | None:
    """As Go reads an int64."""
    number = int(text) if _WHOLE.fullmatch(text) else None
    return number if number is not None and -(1 << 63) <= number < 1 << 63 else None


def is_key(text: str) -> bool:
    """A label's key in Kubernetes' form: `site`, `example.org/site`."""
    prefix = _PREFIX.match(text)
    return _NAME.fullmatch(text[prefix.end() :] if prefix else text) is not None


def is_value(text: str) -> bool:
    return not text or _NAME.fullmatch(text) is not None
