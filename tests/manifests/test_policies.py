"""Policies in git: what is read, what is wrong with one, and that one that cannot be read still closes."""

import pytest

from reconciler.domain.manifest import LabelSelector, Requirement
from reconciler.domain.policy.policy import Policy, PolicyRules
from reconciler.manifests.machine.config import parse_config
from reconciler.manifests.machine.policies import policies_in
from tests.manifests.test_parse import GROUP, manifest, model, parsed, said

POLICY = manifest(
    "Policy",
    "house",
    "mode: warn",
    "served: retire",
    "selector: {matchLabels: {tier: prod}, matchExpressions: [{key: site, operator: NotIn, values: [lab]}]}",
    "licenses: {allow: [apache-2.0, LicenseRef-Llama3.2], unknown: warn}",
    "sources: [huggingface/acme/*, path]",
    "maxSourceSize: 20GiB",
    "precisions: [int8]",
    "architectures: [Qwen2ForCausalLM]",
    "signatures: {sources: true, builds: true}",
    "gates: [fidelity, prompts]",
)


def test_a_policy_with_every_field() -> None:
    found = parsed({"p.yaml": POLICY})
    assert found.problems == ()
    [policy] = found.policies
    rules = policy.rules
    assert (policy.name, policy.file, policy.line, policy.broken) == ("house", "manifests/p.yaml", 1, False)
    assert policy.line_of("licenses") == 8
    assert policy.line_of("signatures.builds") == 13
    assert policy.line_of("nothing") == 1
    assert policy.selector == LabelSelector(
        match_labels={"tier": "prod"}, match_expressions=(Requirement(key="site", operator="NotIn", values=("lab",)),)
    )
    assert (rules.mode, rules.served) == ("warn", "retire")
    assert rules.licenses is not None
    assert rules.licenses.allow == ("Apache-2.0", "LicenseRef-llama3.2")
    assert rules.licenses.unknown == "warn"
    assert rules.max_source_size == 20 << 30
    assert rules.gates == ("fidelity", "prompts")


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("licenses: {}", "spec.licenses: expected either allow or deny, got none of them"),
        ("licenses: {allow: [MIT], deny: [ISC]}", "spec.licenses: expected either allow or deny, got both"),
        ("licenses: {allow: [Apache2.0]}", "spec.licenses.allow[0]: expected the id of a licence, got Apache2.0"),
        ("licenses: {deny: [MIT, llama3.2]}", "spec.licenses.deny[1]: expected the id of a licence, got llama3.2"),
        ("licenses: {allow: []}", "spec.licenses.allow: expected at least one item, got an empty list"),
        ("gates: [speed]", "spec.gates[0]: expected "),
        ("signatures: {}", "spec.signatures: expected sources: true or builds: true, got neither"),
        ("mode: audit", "spec.mode: expected enforce or warn, got audit"),
        ("maxSourceSize: 20", "spec.maxSourceSize: expected a size such as 512MiB or 20GiB, got 20"),
        ("sources: ['https://x']", "spec.sources[0]: expected a pattern such as huggingface/acme/*, or path"),
        ("selector: {matchLabels: {tier: a b}}", "spec.selector.matchLabels.tier: expected a label as in Kubernetes"),
        ("selector: {matchExpressions: [{key: a, operator: In}]}", "expected at least one value for In, got 0 values"),
        (
            "selector: {matchExpressions: [{key: a b, operator: Exists}]}",
            "spec.selector.matchExpressions[0].key: expected the key of a label as in Kubernetes, got a b",
        ),
        (
            "selector: {matchExpressions: [{key: a, operator: In, values: [b, c d]}]}",
            "spec.selector.matchExpressions[0].values[1]: expected the value of a label as in Kubernetes, got c d",
        ),
        ("licences: {allow: [MIT]}", "spec.licences: expected mode, served, licenses"),
    ],
)
def test_what_is_wrong_with_a_policy(spec: str, problem: str) -> None:
    found = parsed({"p.yaml": manifest("Policy", "house", spec), "m.yaml": model()})
    assert [problem in one for one in said(found)] == [True], said(found)
    assert [one.name for one in found.models] == ["phi"]
    # It closes all the same: for every model, or for those that its selector names.
    [policy] = found.policies
    assert policy.broken
    assert policy.enforced


PROD = LabelSelector(match_labels={"tier": "prod"})
WRONG = "gates: [speed]"


@pytest.mark.parametrize(
    ("text", "name", "enforced", "selector"),
    [
        (manifest("Policy", "a", WRONG), "a", True, None),
        (manifest("Policy", "a", WRONG, "mode: warn"), "a", False, None),
        (manifest("Policy", "a", WRONG, "served: retire"), "a", True, None),
        (manifest("Policy", "a", WRONG, "selector: {matchLabels: {tier: prod}}"), "a", True, PROD),
        (manifest("Policy", "a", WRONG, "selector: {matchLabel: {tier: prod}}"), "a", True, None),
        (manifest("Policy", "a", WRONG, "selector: {matchLabels: {tier: a b}}"), "a", True, None),
        (manifest("policy", "a", "mode: enforce"), "a", True, None),
        (manifest("Policy", "a", "mode: enforce").replace("v1alpha1", "v1"), "a", True, None),
        (manifest("Policy", "a", "mode: enforce").replace(f"apiVersion: {GROUP}\n", ""), "a", True, None),
        (f"apiVersion: {GROUP}\nkind: Policy\nspec: {{mode: enforce}}\n", "without a name", True, None),
        (manifest("Policy", "a", "licenses: {allow: [MIT"), "without a name", True, None),
        (f"{manifest('Policy', 'a', 'sources: [path]')}---\n{{kind: Policy, a: [\n", "without a name", True, None),
    ],
    ids=range(12),
)
def test_a_policy_that_cannot_be_read_closes(
    text: str, name: str, selector: LabelSelector | None, *, enforced: bool
) -> None:
    found = parsed({"p.yaml": text, "m.yaml": model()})
    assert found.problems
    assert len(found.models) == 1
    [policy] = [one for one in found.policies if one.broken]
    assert (policy.name, policy.enforced, policy.selector) == (name, enforced, selector)
    assert policy.rules.served == "keep"  # what cannot be read takes nothing away


def test_what_is_no_policy_of_ours_closes_nothing() -> None:
    others = "apiVersion: kyverno.io/v1\nkind: Policy\nmetadata: {name: theirs}\n"
    assert parsed({"p.yaml": others}).policies == ()
    assert parsed({"p.yaml": "# kind: Policy\n" + model()}).policies == ()


def labelled(name: str, labels: str) -> str:
    return model(name).replace("metadata: {", f"metadata: {{labels: {{{labels}}}, ")


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("matchLabels: {teir: production}", "did you mean tier?"),
        ("matchExpressions: [{key: teir, operator: Exists}]", "did you mean tier?"),
        ("matchLabels: {tier: prod, sight: lab}", "did you mean site?"),
        ("matchLabels: {tier: prod}", ""),
        ("matchLabels: {colour: red}", ""),
    ],
)
def test_a_policy_that_selects_no_model_is_told(selector: str, hint: str) -> None:
    policy = manifest("Policy", "house", "sources: [path]", f"selector: {{{selector}}}")
    production, lab = labelled("a", "tier: production"), labelled("b", "tier: lab, site: lab")
    found = parsed({"p.yaml": policy, "a.yaml": production, "b.yaml": lab})
    assert found.problems == ()
    [warning] = found.warnings
    assert (warning.code, warning.file, warning.line) == ("PolicySelectsNothing", "manifests/p.yaml", 6)
    assert warning.field == "spec.selector"
    assert warning.message == "policy house selects none of the 2 models that are declared"
    assert warning.hint == hint
    [alone] = parsed({"p.yaml": policy, "b.yaml": labelled("b", "colour: blue")}).warnings
    assert alone.message == "policy house does not select the only declared model"
    # What a broken document would declare is not known, and where nothing is declared a policy waits for models.
    assert parsed({"p.yaml": policy, "a.yaml": production, "b.yaml": "kind: Model\n"}).warnings == ()
    assert parsed({"p.yaml": policy}).warnings == ()


@pytest.mark.parametrize(
    "selector",
    [
        "matchLabels: {tier: production}",
        "matchExpressions: [{key: tier, operator: DoesNotExist}]",  # all models are labelled, as is wished for
        "matchLabels: {tier: lab}, matchExpressions: [{key: tier, operator: NotIn, values: [lab]}]",
    ],
)
def test_a_policy_that_leaves_models_out_on_purpose_is_as_it_should_be(selector: str) -> None:
    policy = manifest("Policy", "house", "sources: [path]", f"selector: {{{selector}}}")
    models = {"a.yaml": labelled("a", "tier: production"), "b.yaml": labelled("b", "tier: lab")}
    assert parsed({"p.yaml": policy, **models}).warnings == ()


def test_two_of_one_name_both_hold() -> None:
    found = parsed(
        {"a.yaml": manifest("Policy", "a", "sources: [path]"), "b.yaml": manifest("Policy", "a", "gates: [fidelity]")}
    )
    assert len(said(found)) == 1
    assert [one.file for one in found.policies] == ["manifests/a.yaml", "manifests/b.yaml"]
    assert not any(one.broken for one in found.policies)


CONFIG = f"""\
apiVersion: {GROUP}
kind: MachineConfig
policies:
  - name: house
    licenses: {{allow: [mit]}}
    signatures: {{builds: true}}
"""


def test_policies_of_a_machine() -> None:
    data = CONFIG.encode()
    config, problems = parse_config(data, "config.yaml")
    assert problems == ()
    assert config is not None
    [policy] = policies_in(config.policies, data, "config.yaml")
    assert isinstance(policy, Policy)
    assert (policy.name, policy.file, policy.line, policy.line_of("licenses")) == ("house", "config.yaml", 4, 5)
    assert policy.rules.licenses is not None
    assert policy.rules.licenses.allow == ("MIT",)
    assert policy.selector is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ("allow: [mit]", "allow: [mitt]"),
            "config.yaml:5: policies[0].licenses.allow[0]: expected the id of a licence",
        ),
        (("    signatures", "    selector: {}\n    signatures"), "config.yaml:6: policies[0].selector: expected "),
        (("    signatures: {builds: true}\n", "  - name: house\n"), "config.yaml:6: policies[1].name: expected each"),
    ],
)
def test_what_is_wrong_with_policies_of_a_machine(change: tuple[str, str], problem: str) -> None:
    config, problems = parse_config(CONFIG.replace(*change).encode(), "config.yaml")
    assert config is None
    assert [str(one).startswith(problem) for one in problems] == [True], problems


def test_the_defaults_ask_for_nothing() -> None:
    assert PolicyRules() == PolicyRules(mode="enforce", served="keep")
