"""Declared models, with their cards and signatures, before the policies of git and of the machine."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.registries import Offer, RegistryAnswers
from reconciler.domain.machine.trust import Origin, TrustPolicy
from reconciler.domain.observed import Observed
from reconciler.domain.policy.policy import LicenseRule, Policy, PolicyResult, PolicyRules, SignatureRule
from reconciler.domain.recorded import Recorded
from reconciler.domain.release import Artifact
from reconciler.engine.machine import open_machine
from reconciler.engine.planning import Snapshot, take_snapshot
from reconciler.engine.policies import with_builds
from reconciler.planner.conditions import judge
from reconciler.reports.render import plan_text
from reconciler.reports.view import plan_view
from reconciler.sources.manifests import load
from tests.machine import TestMachine
from tests.planner.world import desired, release

POLICY = "apiVersion: reconciler.foundry/v1alpha1\nkind: Policy\nmetadata: {name: house}\nspec:\n"


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    model = one.give_model(capitals)
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Capitals\n")
    one.declare()
    return one


def write(machine: TestMachine, *spec: str) -> None:
    (machine.manifests / "policy.yaml").write_text(POLICY + "".join(f"  {one}\n" for one in spec))


def own(**rules: object) -> Policy:
    return Policy(name="own", file="config.yaml", line=3, rules=PolicyRules(**rules))  # type: ignore[arg-type]


def looked(machine: TestMachine, *policies: Policy, trust: TrustPolicy | None = None) -> Snapshot:
    traits = Traits(policies=policies, trust=trust or TrustPolicy())
    return take_snapshot(open_machine(str(machine.root), str(machine.cache), traits), load(str(machine.manifests)))


def said(found: Snapshot, *, warnings: bool = False) -> list[str]:
    some = found.resolution.warnings if warnings else found.resolution.problems
    return [f"{one.code} {Path(one.file).name}:{one.line} {one.field}" for one in some if one.code.startswith("Policy")]


def held(found: Snapshot) -> Sequence[str]:
    return [f"{one.variant} {one.reason}" for one in found.plan.held]


DENIED = ["PolicyDenied capitals.yaml:6 spec.source"]


def test_a_license_that_is_allowed(machine: TestMachine) -> None:
    write(machine, "licenses: {allow: [Apache-2.0]}")
    found = looked(machine)
    assert (said(found), held(found)) == ([], [])
    assert [(one.rule, one.result) for one in found.resolution.policies] == [("licenses", "pass")]
    assert found.plan


def test_a_license_that_is_not(machine: TestMachine) -> None:
    write(machine, "licenses: {allow: [MIT]}")
    found = looked(machine)
    assert (said(found), held(found)) == (DENIED, ["capitals-int4 PolicyDenied"])
    assert not found.plan.changes
    assert "capitals breaks policy house, rule licenses (" in found.resolution.problems[0].message
    assert "policy.yaml:5): expected MIT, got Apache-2.0" in found.resolution.problems[0].message
    assert found.resolution.desired.complete


def test_one_that_warns(machine: TestMachine) -> None:
    write(machine, "licenses: {allow: [MIT]}", "mode: warn")
    found = looked(machine)
    assert (said(found), held(found)) == ([], [])
    assert said(found, warnings=True) == ["PolicyWarned capitals.yaml:6 spec.source"]
    conditions = judge(found.resolution.desired, found.observed, {}, found.plan, {}, "2027-01-01T00:00:00Z")
    met = conditions["capitals-int4"]["PoliciesMet"]
    assert (met.status, met.reason) == ("False", "PolicyWarned")
    assert "expected MIT, got Apache-2.0" in met.message
    plan = plan_text(plan_view(found.plan, policies=found.resolution.policies))
    assert "? capitals: policy house, rule licenses (" in plan


def test_one_precision_alone(machine: TestMachine) -> None:
    machine.declare(precisions="int4, int8")
    write(machine, "precisions: [int8]")
    found = looked(machine)
    assert (said(found), held(found)) == (
        ["PolicyDenied capitals.yaml:7 spec.precisions[0]"],
        ["capitals-int4 PolicyDenied"],
    )
    assert {one.variant for one in found.plan.changes} == {"capitals-int8"}


def test_what_the_selector_leaves_out(machine: TestMachine) -> None:
    write(machine, "licenses: {allow: [MIT]}", "selector: {matchLabels: {tier: prod}}")
    assert held(looked(machine)) == []
    text = (machine.manifests / "capitals.yaml").read_text()
    (machine.manifests / "capitals.yaml").write_text(
        text.replace("  name: capitals\n", "  name: capitals\n  labels: {tier: prod}\n")
    )
    assert held(looked(machine)) == ["capitals-int4 PolicyDenied"]


def test_git_cannot_loosen_what_the_machine_wants(machine: TestMachine) -> None:
    write(machine, "licenses: {allow: [Apache-2.0]}", "mode: warn")
    found = looked(machine, own(licenses=LicenseRule(allow=("MIT",))))
    assert (said(found), held(found)) == (DENIED, ["capitals-int4 PolicyDenied"])
    assert "policy own, rule licenses (config.yaml:3)" in found.resolution.problems[0].message


def test_a_broken_policy_harms_itself_and_closes(machine: TestMachine) -> None:
    write(machine, "licenses: {allow: [Apache-2.0], deny: [MIT]}")
    found = looked(machine)
    assert [one.code for one in found.resolution.problems] == ["InvalidValue"]  # its own, once
    assert held(found) == ["capitals-int4 PolicyDenied"]
    [result] = found.resolution.policies
    assert (result.result, result.policy, result.policy_line) == ("error", "house", 1)
    assert not found.resolution.desired.complete  # nothing is pruned either


def test_one_that_retires(machine: TestMachine) -> None:
    write(machine, "licenses: {allow: [MIT]}", "served: retire")
    found = looked(machine)
    assert (said(found), held(found)) == (DENIED, ["capitals-int4 PolicyDenied"])
    assert found.resolution.desired.declared == frozenset()
    assert found.resolution.desired.wanted == ()


def test_signatures_of_sources(machine: TestMachine) -> None:
    """A machine that asks for no signature has none to show."""
    found = looked(machine, own(signatures=SignatureRule(sources=True)))
    assert (said(found), held(found)) == (DENIED, ["capitals-int4 PolicyDenied"])
    assert "but this machine asks for none" in found.resolution.problems[0].message


def test_builds_of_its_own_need_no_signature(machine: TestMachine) -> None:
    found = looked(machine, own(signatures=SignatureRule(builds=True)))
    assert (said(found), held(found)) == ([], [])
    assert [(one.rule, one.result, one.precision) for one in found.resolution.policies] == [
        ("signatures.builds", "pass", "int4")
    ]


@pytest.mark.parametrize(
    ("signed_by", "held", "offered", "result"),
    [("", True, False, "fail"), ("key", True, False, "pass"), ("", False, True, "fail"), ("key", False, True, "pass")],
)
def test_builds_of_others_are_signed(signed_by: str, result: str, *, held: bool, offered: bool) -> None:
    want, registry = desired(release()), "ghcr.io/acme/models"
    key = want.wanted[0].release.recipe.build_key
    artifact = Artifact(digest="sha256:a", build_key=key, files=())
    offers = {key: Offer(registry=registry, digest="sha256:a", missing=1, signed_by=signed_by)} if offered else {}
    origin = Origin(artifact="sha256:a", build_key=key, registry=registry, signed_by=signed_by, since="")
    observed = Observed(
        owner="", disk_free=0, artifacts={key: artifact} if held else {}, answers=RegistryAnswers(offers=offers)
    )
    recorded = Recorded(origins={origin.artifact: origin} if held else {})
    asked = PolicyResult(policy="own", rule="signatures.builds", result="pending", model="capitals")
    found = with_builds(want, [asked], observed, recorded)
    assert [(one.result, one.precision) for one in found.decided] == [(result, "int4")]
    assert (found.desired.wanted[0].denial is None) == (result == "pass")


def test_validate_says_it_at_the_line_and_knows_the_configuration(machine: TestMachine, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\npolicies:\n"
        "  - {name: own, licenses: {allow: [MIT]}, signatures: {builds: true}}\n"
    )
    config.chmod(0o600)
    done = machine.run("validate", "-o", "github", "--policies", str(config))
    assert done.code == 1
    assert (
        "::error file=manifests/capitals.yaml,line=6,title=PolicyDenied::spec.source: capitals breaks policy own"
        in done.out
    )
    view = machine.run("validate", "-o", "json", "--policies", str(config)).json()
    assert [(one["rule"], one["result"], one["policyLine"]) for one in view["policies"]] == [
        ("licenses", "fail", 4),
        ("signatures.builds", "pending", 4),
    ]
    assert machine.run("validate").code == 0
