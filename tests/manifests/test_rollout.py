"""Rollouts in manifests: which models they are about, what is wrong with one, and that a broken one still covers."""

import pytest

from tests.manifests.test_confirmation import parsed

MODELS = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: phi, labels: {tier: edge}}
spec: {source: {path: ../m}, precisions: [int4]}
---
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: qwen}
spec: {source: {path: ../m}, precisions: [int4]}
"""
ROLLOUT = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {name: edge}
spec: {%s}
"""
RINGS = "rings: [{name: canary, share: 0.1}, {name: broad}]"


def rollout(spec: str) -> str:
    return ROLLOUT % spec


COVERS = [
    ("all models", RINGS, {"phi", "qwen"}),
    ("by name", f"models: [qwen], {RINGS}", {"qwen"}),
    ("by label", f"selector: {{matchLabels: {{tier: edge}}}}, {RINGS}", {"phi"}),
    ("by an expression", f"selector: {{matchExpressions: [{{key: tier, operator: DoesNotExist}}]}}, {RINGS}", {"qwen"}),
]


@pytest.mark.parametrize(("case", "spec", "covers"), COVERS)
def test_which_models_it_is_about(case: str, spec: str, covers: set[str]) -> None:
    found = parsed(m=MODELS, r=rollout(spec))
    assert found.problems == (), case
    (one,) = found.rollouts
    assert (one.name, one.covers, one.broken) == ("edge", frozenset(covers), "")


WRONG = [
    ("rings: []", "spec.rings: expected at least one item, got an empty list"),
    ("models: [phy], " + RINGS, "spec.models[0]: expected the name of a Model, but there is no phy"),
    ("models: [phi, phi], " + RINGS, "spec.models[1]: expected each model once, got phi again"),
    ("models: [phi], selector: {matchLabels: {a: b}}, " + RINGS, "spec.selector: expected one of models and selector"),
    ("rings: [{name: a}, {name: a}]", "spec.rings[1].name: expected a name of its own, got a again"),
    ("rings: [{name: a, share: 0.6}, {name: b, share: 0.5}]", "spec.rings[1].share: expected shares that come to 1"),
    ("rings: [{name: a, share: 0}]", "spec.rings[0].share: expected a number above 0, at most 1, got 0"),
    ("rings: [{name: a, share: 0.1, count: 5}]", "spec.rings[0].count: expected one of share, count and machines"),
    (
        "rings: [{name: a, count: 5, nodeSelector: {matchLabels: {a: b}}}]",
        "spec.rings[0].count: expected a count of all",
    ),
    ("rings: [{name: a, nodeSelector: {matchLabels: {a: -}}}]", "expected a label's value"),
    ("rings: [{name: a, soak: 1d}]", "spec.rings[0].soak: expected a duration"),
    (RINGS + ", promoted: [{release: sha256:12}]", "spec.promoted[0].release: expected the digest of a release"),
    (
        RINGS + f", promoted: [{{release: 'sha256:{'1' * 64}', ring: x}}]",
        "spec.promoted[0].ring: expected the name of a",
    ),
]


@pytest.mark.parametrize(("spec", "problem"), WRONG)
def test_what_is_wrong_is_said_and_what_it_covers_waits(spec: str, problem: str) -> None:
    found = parsed(m=MODELS, r=rollout(spec))
    assert [one for one in map(str, found.problems) if problem in one], list(map(str, found.problems))
    (one,) = found.rollouts
    assert one.broken
    assert one.is_about("phi")


def test_a_broken_one_that_names_its_models_holds_no_others() -> None:
    (one,) = parsed(m=MODELS, r=rollout("models: [qwen], rings: [{name: a, shore: 1}]")).rollouts
    assert (one.is_about("qwen"), one.is_about("phi")) == (True, False)


def test_a_model_is_in_one_rollout() -> None:
    found = parsed(m=MODELS, r=rollout(RINGS), s=rollout("models: [phi], " + RINGS).replace("edge", "late"))
    (problem,) = found.problems
    assert (problem.code, problem.field) == ("RolloutOverlap", "spec.models[0]")
    assert [(one.name, bool(one.broken)) for one in found.rollouts] == [("edge", False), ("late", True)]


def test_two_of_one_name_are_both_broken() -> None:
    found = parsed(m=MODELS, r=rollout("models: [phi], " + RINGS), s=rollout("models: [qwen], " + RINGS))
    assert {problem.code for problem in found.problems} == {"DuplicateName"}
    assert all(one.broken for one in found.rollouts)
