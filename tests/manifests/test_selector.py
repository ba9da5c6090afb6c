"""Which machine gets what: the rules of Kubernetes, in tables; and what a manifest may not say."""

from dataclasses import replace

import pytest

from reconciler.domain.desired import Desired
from reconciler.domain.machine.facts import Facts
from reconciler.domain.manifest import LabelSelector, Requirement
from reconciler.manifests.parse import parse
from reconciler.manifests.parsed import Parsed, Place
from reconciler.manifests.paths import ParseContext
from reconciler.manifests.selector import OWN_KEYS, is_key, is_value, labels_of, mismatch
from reconciler.planner.conditions import judge_kept
from tests.manifests.test_parse import unrendered
from tests.planner.world import World, desired, release

LABELS = {"site": "lab", "rack": "7", "note": "", "size": "big", "huge": "9223372036854775808"}


def expression(key: str, operator: str, *values: str) -> LabelSelector:
    return LabelSelector(match_expressions=(Requirement(key=key, operator=operator, values=values),))


CASES: dict[str, tuple[LabelSelector, bool]] = {
    "an empty selector is for all": (LabelSelector(), True),
    "a label that is so": (LabelSelector(match_labels={"site": "lab"}), True),
    "a label that is not so": (LabelSelector(match_labels={"site": "shop"}), False),
    "a label that is not set": (LabelSelector(match_labels={"zone": "lab"}), False),
    "an empty value is a value": (LabelSelector(match_labels={"note": ""}), True),
    "not set is not empty": (LabelSelector(match_labels={"zone": ""}), False),
    "all labels must hold": (LabelSelector(match_labels={"site": "lab", "rack": "8"}), False),
    "In": (expression("site", "In", "shop", "lab"), True),
    "In, another": (expression("site", "In", "shop"), False),
    "In, not set": (expression("zone", "In", "lab"), False),
    "NotIn": (expression("site", "NotIn", "shop"), True),
    "NotIn, one of them": (expression("site", "NotIn", "shop", "lab"), False),
    "NotIn holds without the label": (expression("zone", "NotIn", "lab"), True),
    "Exists": (expression("site", "Exists"), True),
    "Exists, empty": (expression("note", "Exists"), True),
    "Exists, not set": (expression("zone", "Exists"), False),
    "DoesNotExist": (expression("zone", "DoesNotExist"), True),
    "DoesNotExist, set": (expression("note", "DoesNotExist"), False),
    "Gt": (expression("rack", "Gt", "6"), True),
    "Gt, equal": (expression("rack", "Gt", "7"), False),
    "Gt is of numbers, not of text": (expression("rack", "Gt", "60"), False),
    "Gt below zero": (expression("rack", "Gt", "-1"), True),
    "Gt, not set": (expression("zone", "Gt", "1"), False),
    "Gt, no number": (expression("size", "Gt", "1"), False),
    "Gt, more than 64 bits": (expression("huge", "Gt", "1"), False),
    "Lt": (expression("rack", "Lt", "8"), True),
    "Lt, equal": (expression("rack", "Lt", "7"), False),
    "Lt, not set": (expression("zone", "Lt", "1"), False),
    "all expressions must hold": (
        LabelSelector(
            match_expressions=(Requirement(key="site", operator="Exists"), Requirement(key="zone", operator="Exists"))
        ),
        False,
    ),
    "labels and expressions": (replace(expression("rack", "Gt", "1"), match_labels={"site": "lab"}), True),
    "labels hold, expressions do not": (replace(expression("rack", "Gt", "9"), match_labels={"site": "lab"}), False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_selector_is_as_in_kubernetes(case: str) -> None:
    selector, expected = CASES[case]
    assert (not mismatch(selector, LABELS)) is expected


def test_a_mismatch_says_what_is_there_and_what_is_wanted() -> None:
    assert mismatch(LabelSelector(match_labels={"site": "shop"}), LABELS) == "site is lab, wants shop"
    assert mismatch(expression("zone", "In", "a", "b"), LABELS) == "zone is not set, wants In a, b"
    assert mismatch(expression("zone", "Exists"), LABELS) == "zone is not set, wants Exists"


def test_a_machine_has_its_facts_as_labels_and_nobody_overrides_them() -> None:
    facts = Facts(
        os="linux",
        arch="arm64",
        memory_bytes=(16 << 30) - (300 << 20),  # what a kernel leaves of 16 GiB
        cpus=8,
        execution_providers=("CPUExecutionProvider", "CUDAExecutionProvider"),
    )
    labels = labels_of("edge-7", {"site": "lab", "reconciler.foundry/os": "windows"}, facts)
    own = {
        "name": "edge-7",
        "os": "linux",
        "arch": "arm64",
        "memory": "16",
        "cpus": "8",
        "provider-CPUExecutionProvider": "true",
        "provider-CUDAExecutionProvider": "true",
    }
    assert labels == {"site": "lab"} | {f"reconciler.foundry/{name}": text for name, text in own.items()}
    assert all(is_key(key) and is_value(value) for key, value in labels.items())
    assert set(OWN_KEYS) < labels.keys()


@pytest.mark.parametrize(
    ("key", "good"),
    [
        ("site", True),
        ("example.org/site", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("", False),
        ("-site", False),
        ("site-", False),
        ("Example.org/site", False),
        ("a/b/c", False),
        ("/site", False),
        ("x" * 253 + "/site", True),
        ("x" * 254 + "/site", False),
        ("si te", False),
    ],
)
def test_keys_have_kubernetes_form(key: str, good: bool) -> None:
    assert is_key(key) is good


MANIFEST = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: capitals}
spec:
  source: {path: model}
  precisions: [int4]
  nodeSelector:
%s
"""


def parsed(selector: str) -> Parsed:
    around = ParseContext(
        base="/repo",
        prefix="",
        checkout="/repo",
        roots=(),
        place=lambda path: Place(path=path, kind="folder"),
        read=lambda _: None,
        render=unrendered,
    )
    text = "\n".join(f"    {line}" for line in selector.splitlines())
    return parse({"a.yaml": (MANIFEST % text).encode()}, around)


GOOD = """\
matchLabels: {site: lab, rack: 7}
matchExpressions:
- {key: reconciler.foundry/memory, operator: Gt, values: [15]}
- {key: reconciler.foundry/provider-CUDAExecutionProvider, operator: Exists}
- {key: tier, operator: NotIn, values: [dev, "no"]}"""


def test_what_a_manifest_says_arrives() -> None:
    found = parsed(GOOD)
    assert not found.problems
    assert found.models[0].node_selector == LabelSelector(
        match_labels={"site": "lab", "rack": "7"},
        match_expressions=(
            Requirement(key="reconciler.foundry/memory", operator="Gt", values=("15",)),
            Requirement(key="reconciler.foundry/provider-CUDAExecutionProvider", operator="Exists"),
            Requirement(key="tier", operator="NotIn", values=("dev", "no")),
        ),
    )


BAD: dict[str, tuple[str, str, str]] = {
    "no mapping": ("- site", "spec.nodeSelector", "expected"),
    "an unknown field": ("matchNames: {}", "spec.nodeSelector.matchNames", "matchLabels"),
    "an unknown operator": (
        "matchExpressions: [{key: a, operator: in, values: [b]}]",
        "spec.nodeSelector.matchExpressions[0].operator",
        "expected In, NotIn",
    ),
    "no key": (
        "matchExpressions: [{operator: Exists}]",
        "spec.nodeSelector.matchExpressions[0].key",
        "expected a value",
    ),
    "In without values": (
        "matchExpressions: [{key: a, operator: In}]",
        "spec.nodeSelector.matchExpressions[0].values",
        "expected at least one value for In, got 0",
    ),
    "Exists with values": (
        "matchExpressions: [{key: a, operator: Exists, values: [b]}]",
        "spec.nodeSelector.matchExpressions[0].values",
        "expected no values for Exists, got 1",
    ),
    "Gt with two": (
        "matchExpressions: [{key: a, operator: Gt, values: [1, 2]}]",
        "spec.nodeSelector.matchExpressions[0].values",
        "expected one whole number for Gt, got 2",
    ),
    "Gt with words": (
        "matchExpressions: [{key: a, operator: Gt, values: [16GiB]}]",
        "spec.nodeSelector.matchExpressions[0].values",
        "expected a whole number for Gt and Lt, got 16GiB",
    ),
    "a key that is none": ("matchLabels: {-a: b}", "spec.nodeSelector.matchLabels.-a", "a label's key"),
    "a value that is none": ("matchLabels: {a: b c}", "spec.nodeSelector.matchLabels.a", "a label's value"),
    "a value in a list that is none": (
        "matchExpressions: [{key: a, operator: In, values: [b, c/d]}]",
        "spec.nodeSelector.matchExpressions[0].values[1]",
        "a label's value",
    ),
    "a fact that no machine knows": (
        "matchLabels: {reconciler.foundry/ram: 16}",
        "spec.nodeSelector.matchLabels.reconciler.foundry/ram",
        "reconciler.foundry/memory",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_selector_is_one_clear_problem(case: str) -> None:
    selector, field, said = BAD[case]
    found = parsed(selector)
    assert [problem.field.replace('"', "") for problem in found.problems] == [field]
    assert said in found.problems[0].message
    assert found.problems[0].line >= 7
    assert not found.models


def not_here(want: Desired, *models: str) -> Desired:
    return replace(want, not_selected=dict.fromkeys(models, "site is lab, wants shop"))


BOTH = (release(), release("rivers"), release("cities"))


def test_a_model_for_others_is_pruned_with_its_own_reason() -> None:
    world = World().converge(desired(*BOTH))
    plan = world.plan(not_here(desired(release("rivers"), release("cities")), "capitals"))
    assert [(c.action, c.reason) for c in plan.changes if c.variant] == [("prune", "NotSelected")]
    assert plan.not_selected == {"capitals": "site is lab, wants shop"}


def test_the_rails_hold_for_selections_too() -> None:
    world = World().converge(desired(*BOTH))
    most = world.plan(not_here(desired(release("cities")), "capitals", "rivers"))
    assert {held.reason for held in most.held} == {"ConfirmationNeeded"}
    nothing = not_here(desired(), "capitals", "rivers", "cities")
    assert {held.reason for held in world.plan(nothing).held} == {"NothingDeclared"}
    assert {c.reason for c in world.plan(nothing, confirm=True).changes if c.variant} == {"NotSelected"}
    unreadable = replace(nothing, complete=False)
    assert {held.reason for held in world.plan(unreadable, confirm=True).held} == {"ManifestsUnreadable"}


def test_where_nothing_is_for_this_machine_the_hold_says_why() -> None:
    """And not that nothing is declared: a key of nodeSelector that is misspelt is likelier."""
    world = World().converge(desired(*BOTH))
    [why] = {one.message for one in world.plan(not_here(desired(), "capitals", "rivers", "cities")).held}
    assert why == (
        "what is declared is not for this machine (capitals: site is lab, wants shop; cities: site is lab, wants shop"
        " (and 1 more)); mend nodeSelector or the machine's labels, or pass --confirm to prune everything"
    )
    # What no manifest declares can be named, too; what one declares cannot.
    others = {one.message for one in world.plan(not_here(desired(), "seas")).held}
    assert {"or name them in a PruneConfirmation" in one for one in others} == {True}
    assert {one.startswith("what is declared is not for this machine (seas: ") for one in others} == {True}
    assert {one.message.partition(",")[0] for one in world.plan(desired()).held} == {
        "pass --confirm to prune everything"
    }


def test_what_is_kept_though_it_is_for_others_is_told_in_one_sentence() -> None:
    world = World().converge(desired(release()))
    plan = world.plan(not_here(desired(), "capitals"))
    kept = judge_kept(plan, world.observed, {}, "2027-01-01T00:00:00Z")["capitals-int4"]
    assert kept["Ready"].message == (
        "its manifest is not for this machine any more, capitals-int4:1 still serves: what is declared is not for this "
        "machine (capitals: site is lab, wants shop); mend nodeSelector or the machine's labels, or pass --confirm to "
        "prune everything"
    )
