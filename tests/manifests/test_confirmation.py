"""A large prune that is confirmed in git: what it lifts, and that it lifts nothing else."""

from dataclasses import replace

import pytest

from reconciler.manifests.parse import parse
from reconciler.manifests.parsed import Parsed, Place
from reconciler.manifests.paths import ParseContext
from reconciler.reports.render import plan_text
from reconciler.reports.view import plan_view
from tests.manifests.test_parse import unrendered
from tests.planner.world import World, desired, release, wanted

NAMES = tuple("abcdefgh")
SERVED = World().converge(desired(*(release(name) for name in NAMES)))
MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: phi}
spec: {source: {path: ../m}, precisions: [int4]}
"""
CONFIRMATION = """\
apiVersion: reconciler.foundry/v1alpha1
kind: PruneConfirmation
metadata: {name: cleaning}
spec: {models: [%s]}
"""


def parsed(**files: str) -> Parsed:
    around = ParseContext(
        base="/repo/manifests",
        prefix="manifests",
        checkout="/repo",
        roots=(),
        place=lambda path: Place(path=path, kind="folder"),
        read=lambda _: None,
        render=unrendered,
    )
    return parse({f"{name}.yaml": text.encode() for name, text in files.items()}, around)


def test_it_names_models() -> None:
    found = parsed(a=CONFIRMATION % "gemma, mistral", b=CONFIRMATION.replace("cleaning", "b") % "gemma", c=MODEL)
    assert found.problems == ()
    assert found.confirmed == ("gemma", "mistral")


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        (CONFIRMATION % "gemma, phi", "ConfirmedButDeclared", "spec.models[1]"),
        (CONFIRMATION % "", "InvalidValue", "spec.models"),
        (CONFIRMATION % "'*'", "InvalidValue", "spec.models[0]"),
        (CONFIRMATION % "gemma" + "  all: true\n", "", ""),
        (CONFIRMATION.replace("{models: [%s]}", "{all: true}"), "UnknownField", "spec.all"),
    ],
)
def test_what_is_wrong_with_one_confirms_nothing(text: str, code: str, field: str) -> None:
    found = parsed(a=text, c=MODEL)
    assert found.problems, "with a problem nothing at all is pruned"
    assert not code or (code, field) in [(one.code, one.field) for one in found.problems]
    assert "phi" not in found.confirmed


# case: what is still declared, which models are confirmed, which are pruned, the reason of what is held
CASES: dict[str, tuple[str, str, str, set[str]]] = {
    "six of eight, none confirmed": ("ab", "", "", {"ConfirmationNeeded"}),
    "six of eight, all confirmed": ("ab", "cdefgh", "cdefgh", set()),
    "and more than those": ("ab", "cdefghxyz", "cdefgh", set()),
    "one is not": ("ab", "cdefg", "", {"ConfirmationNeeded"}),
    "confirmed for another prune": ("gh", "cdefgh", "", {"ConfirmationNeeded"}),
    "nothing is declared, all confirmed": ("", "abcdefgh", "abcdefgh", set()),
    "nothing is declared, one is not": ("", "abcdefg", "", {"NothingDeclared"}),
    "few need no word": ("abcde", "", "fgh", set()),
}


@pytest.mark.parametrize("case", CASES)
def test_only_exactly_what_is_named_goes(case: str) -> None:
    left, named, gone, reasons = CASES[case]
    want = replace(desired(*(release(name) for name in left)), confirmed=frozenset(named))
    plan = SERVED.plan(want)
    assert {one.variant.removesuffix("-int4") for one in plan.changes if one.variant} == set(gone)
    assert {one.reason for one in plan.held} == reasons


def test_what_is_not_confirmed_is_named() -> None:
    want = replace(desired(release("a"), release("b")), confirmed=frozenset("cdef"))
    hold = SERVED.plan(want).held[0]
    assert hold.message.startswith("6 of 8 models would go (g, h not confirmed): pass --confirm if that is meant")


def test_the_plan_says_that_it_is_confirmed() -> None:
    want = replace(desired(release("a"), release("b")), confirmed=frozenset("cdefgh"))
    text = plan_text(plan_view(SERVED.plan(want)))
    assert text.count("    confirmed by a PruneConfirmation in git\n") == 6


@pytest.mark.parametrize("rail", ["complete", "protected", "in use", "unrecorded", "unreadable", "suspended"])
def test_it_lifts_no_other_rail(rail: str) -> None:
    want = replace(desired(wanted(release("a"))), confirmed=frozenset("bcdefgh"))
    here = SERVED
    recorded, observed = here.recorded, here.observed
    if rail == "complete":
        want = replace(want, complete=False)
    if rail == "suspended":
        want = replace(want, suspended=frozenset("b"))
    if rail == "protected":
        release_b = replace(recorded.releases["b-int4"], protected=True)
        recorded = replace(recorded, releases={**recorded.releases, "b-int4": release_b})
    if rail == "unrecorded":
        recorded = replace(recorded, uncorroborated=frozenset({"b-int4:1"}))
    if rail == "in use":
        observed = replace(observed, in_use=frozenset({"b-int4:1"}))
    if rail == "unreadable":
        observed = replace(observed, unreadable={"b-int4": "no"})
    plan = replace(here, observed=observed, recorded=recorded).plan(want)
    assert "b-int4" not in {one.variant for one in plan.changes}
    assert "b-int4" in {one.variant for one in (*plan.held, *plan.later)}
