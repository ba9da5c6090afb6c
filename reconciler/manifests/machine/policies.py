"""Policies in the configuration of a machine: as those in git, but with a name of their own and without a selector."""

from collections.abc import Iterator, Sequence

from pydantic import Field

from reconciler.domain.policy.policy import Policy
from reconciler.domain.text.quoting import shown
from reconciler.manifests import loader
from reconciler.manifests.field_types import Name
from reconciler.manifests.policy_rules import lines_of, rule_problems, rules_of, with_ids
from reconciler.manifests.problems import FieldProblem
from reconciler.manifests.schema import Rules


class MachinePolicy(Rules):  # type: ignore[misc] # its base is made of PolicyRules, and so has all of its fields
    name: Name = Field(description="What the policy is called.")


def policy_problems(policies: Sequence[MachinePolicy]) -> Iterator[FieldProblem]:
    names = [one.name for one in policies]
    for number, one in enumerate(policies):
        for path, message, hint in rule_problems(rules_of(one)):
            yield ("policies", number, *path), message, hint
        if one.name in names[:number]:
            yield ("policies", number, "name"), f"expected each policy once, got {shown(one.name)} again", ""


def policies_in(policies: Sequence[MachinePolicy], data: bytes, file: str) -> tuple[Policy, ...]:
    """The policies of a configuration as it was read from `data`. They have no selector: labels are written in git."""
    (document,) = loader.load(file, data).documents
    return tuple(
        Policy(
            name=one.name,
            file=file,
            line=document.line(("policies", number)),
            rules=with_ids(rules_of(one)),
            lines=lines_of(document, ("policies", number)),
        )
        for number, one in enumerate(policies)
    )
