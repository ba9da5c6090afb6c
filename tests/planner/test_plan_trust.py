"""What a plan makes of builds that are not trusted or revoked: nothing of them serves anew, and what serves goes on."""

from dataclasses import replace

import pytest

from reconciler.domain.changes import Pull
from reconciler.domain.machine.registries import RegistryAnswers
from reconciler.domain.machine.trust import Origin, Refusal, TrustedKey, TrustPolicy, TrustRule, judge_stored
from reconciler.domain.reasons import Reason
from reconciler.planner.conditions import judge_source
from reconciler.planner.rollback import is_obtainable
from tests.planner.test_plan_pull import BASE, HAS, KEY, ROOMY, actions
from tests.planner.world import desired, release

UNTRUSTED = Refusal(reason=Reason.UNTRUSTED, message="registry.example.com/models: it is unsigned")
REVOKED = Refusal(reason=Reason.REVOKED, message="sha256:a is in `revoked`")
FINAL = replace(REVOKED, final=True)
DOUBTED = replace(UNTRUSTED, enforced=False)
REFUSED = RegistryAnswers(refused={KEY: UNTRUSTED})
BUILT = ROOMY.converge(desired(BASE)).without_releases()
REST = ["verify", "register"]

CASES = [
    # where from, what registries answered, what is refused of the store, what is planned
    ("registry-only", REFUSED, None, ["Untrusted"]),
    ("prefer-registry", REFUSED, None, ["convert", *REST]),
    ("registry-only", replace(HAS, refused={KEY: DOUBTED}), None, ["pull", *REST]),
    ("registry-only", RegistryAnswers(), FINAL, ["Revoked"]),
    ("prefer-registry", RegistryAnswers(), FINAL, ["Revoked"]),
    ("local", RegistryAnswers(), FINAL, ["Revoked"]),
]


@pytest.mark.parametrize(("convert", "answers", "refusal", "expected"), CASES)
def test_what_is_not_here(convert: str, answers: RegistryAnswers, refusal: Refusal | None, expected: list[str]) -> None:
    refused = {KEY: refusal} if refusal else {}
    assert actions(ROOMY.with_observed(convert=convert, answers=answers, refused=refused)) == expected


@pytest.mark.parametrize(
    ("convert", "answers", "refusal", "expected"),
    [
        ("registry-only", RegistryAnswers(), UNTRUSTED, ["Untrusted"]),
        ("registry-only", HAS, UNTRUSTED, ["pull", *REST]),
        ("registry-only", REFUSED, REVOKED, ["Untrusted"]),
        ("prefer-registry", RegistryAnswers(), UNTRUSTED, ["convert", *REST]),
        ("prefer-registry", RegistryAnswers(), REVOKED, ["convert", *REST]),  # it came from a registry
        ("local", RegistryAnswers(), UNTRUSTED, ["convert", *REST]),
        ("local", RegistryAnswers(), FINAL, ["Revoked"]),  # built here: that would give the same again
        ("local", RegistryAnswers(), DOUBTED, REST),
    ],
)
def test_what_the_store_holds(convert: str, answers: RegistryAnswers, refusal: Refusal, expected: list[str]) -> None:
    world = BUILT.with_observed(convert=convert, answers=answers, refused={KEY: refusal})
    assert actions(world) == expected
    assert actions(BUILT) == REST


def test_what_serves_goes_on_and_is_named() -> None:
    served = ROOMY.converge(desired(BASE))
    world = served.with_observed(convert="registry-only", refused={KEY: REVOKED})
    plan = world.plan(desired(BASE))
    assert not plan
    [held] = plan.held
    assert (held.reason, held.message) == (Reason.REVOKED, f"capitals-int4:1 is served, and goes on: {REVOKED.message}")
    changed = release(template="{{ messages }}!")
    assert actions(world, changed) == ["Revoked"]
    assert world.serving() == served.serving() != {}
    damaged = world.damaged("model.onnx")
    assert actions(damaged)[0] == "repair"  # as it was


def test_a_pull_says_who_signed_it() -> None:
    offer = replace(HAS.offers[KEY], signed_by="sha256:key")
    world = ROOMY.with_observed(convert="registry-only", answers=RegistryAnswers(offers={KEY: offer}))
    [pull, *_] = world.plan(desired(BASE)).changes
    assert isinstance(pull, Pull)
    assert pull.offer.signed_by == "sha256:key"


POLICY = TrustPolicy(
    rules=(
        TrustRule(pattern="ghcr.io/acme/*", mode="enforce", keys=(TrustedKey(file="/k.pub"),)),
        TrustRule(pattern="*.example.com/models", mode="warn", keys=(TrustedKey(file="/k.pub"),)),
        TrustRule(pattern="*", mode="off"),
    ),
    revoked=frozenset({"sha256:" + "b" * 64}),
)


@pytest.mark.parametrize(
    ("registry", "signed_by", "reason", "enforced"),
    [
        ("ghcr.io/acme/models", "sha256:key", None, False),
        ("ghcr.io/acme/models", "sha256:old", "Untrusted", True),
        ("ghcr.io/acme/models", "", "Untrusted", True),
        ("a.example.com/models", "", "Untrusted", False),
        ("a.example.com/models", "sha256:key", None, False),
        ("ghcr.io/acme", "", None, False),
        ("", "", None, False),  # converted here
    ],
)
def test_the_store_by_the_policy_of_today(registry: str, signed_by: str, reason: str | None, enforced: bool) -> None:
    [artifact] = BUILT.observed.artifacts.values()
    origin = Origin(artifact=artifact.digest, build_key=KEY, registry=registry, signed_by=signed_by, since="")
    found = judge_stored(artifact, origin if registry else None, POLICY, {"sha256:key"})
    assert (found and str(found.reason)) == reason
    assert found is None or found.enforced == enforced
    revoked = judge_stored(replace(artifact, digest="sha256:" + "b" * 64), origin, POLICY, {"sha256:key"})
    assert revoked is not None
    assert (revoked.reason, revoked.enforced, revoked.final) == ("Revoked", True, False)


@pytest.mark.parametrize("repository", ["ghcr.io/acmes/x", "xghcr.io/acme/x", "ghcr.io/acme", "ghcr-io/acme/x"])
def test_a_pattern_means_what_it_says(repository: str) -> None:
    assert not POLICY.rules[0].covers(repository)


def test_whether_builds_are_trusted_is_a_condition_of_the_machine() -> None:
    from reconciler.domain.errors import Problem

    now = "2026-01-01T00:00:00Z"
    assert "BuildsTrusted" not in judge_source((), (), {}, now)
    assert judge_source((), (), {}, now, asks_trust=True)["BuildsTrusted"].status == "True"
    doubt = Problem(code="Untrusted", file="trust", message="it is unsigned")
    found = judge_source((), (doubt,), {}, now, asks_trust=True)
    assert (found["BuildsTrusted"].status, found["BuildsTrusted"].reason) == ("False", "Untrusted")
    assert found["ManifestsValid"].status == "True"


def test_nothing_is_rolled_back_to_what_is_refused() -> None:
    [artifact] = BUILT.observed.artifacts.values()
    for refusal, obtainable in ((REVOKED, False), (DOUBTED, True)):
        observed = replace(BUILT.observed, refused={artifact.build_key: refusal})
        assert is_obtainable(BASE, observed) == obtainable


def test_numbers_of_what_is_refused_keep_no_other_build_back() -> None:
    """A forged build that its gates reject, and the one that takes its place."""
    [fidelity] = BUILT.recorded.measured.fidelity.values()
    known = replace(BUILT.recorded.measured, fidelity={KEY: replace(fidelity, mean_kl=100.0)})
    rejected = replace(BUILT, recorded=replace(BUILT.recorded, measured=known))
    assert actions(rejected) == ["GateFailed"]
    world = rejected.with_observed(convert="registry-only", answers=HAS, refused={KEY: UNTRUSTED})
    assert actions(world)[0] == "pull"
    assert actions(world.with_observed(answers=RegistryAnswers())) == ["GateFailed"]
