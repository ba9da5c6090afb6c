"""Every case of the planner is a row: a world, what git wants, and the changes that follow. No file, no clock."""

from dataclasses import replace

import pytest

from reconciler.domain.changes import FieldChange
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.observed import Registration
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.domain.sources.locked import Fetch, LockedFile, LockedSource
from tests.planner.world import OWNER, World, desired, marker_of, registration, release, wanted

BASE = release()
EMPTY = World()
SERVED = EMPTY.converge(desired(BASE))
TWO = EMPTY.converge(desired(BASE, release("rivers")))


def foreign(identity: str) -> Registration:
    return Registration(id=identity, path="/somewhere/else", properties={})


def lose_folder(world: World) -> World:
    return world.with_observed(folders=())


def lose_registration(world: World) -> World:
    return world.with_observed(registrations=())


def repoint(world: World) -> World:
    moved = tuple(replace(r, path="/tmp/other") for r in world.observed.registrations)
    return world.with_observed(registrations=moved)


def with_foreign(world: World, identity: str) -> World:
    return world.with_observed(registrations=(*world.observed.registrations, foreign(identity)))


def forgetful(world: World) -> World:
    return replace(world, recorded=Recorded())


NEW = ["convert ArtifactMissing", "verify ReleaseMissing", "register ReleaseMissing"]

HUB = LockedSource(
    repo="org/phi", revision="c" * 40, files=(LockedFile(path="config.json", size=600, sha256="a" * 64),)
)
FETCH = Fetch(source=HUB, missing=600)
UNSEEN = wanted(release(source="sha256:unseen"), fetch=Fetch(source=HUB, missing=600, known=False))
ROOMY = EMPTY.with_observed(disk_free=1 << 30)
SHELVED = {HUB.digest: 600}


def from_hub(*wants: DesiredRelease) -> Desired:
    return replace(desired(*wants), locked_sources=frozenset({HUB.digest}))


CASES: list[tuple[str, World, Desired, list[str]]] = [
    ("nothing declared, nothing served", EMPTY, desired(), []),
    ("a new variant is converted, verified and registered", EMPTY, desired(BASE), NEW),
    ("a converged machine has nothing to do", SERVED, desired(BASE), []),
    (
        "a template change is a new registration, never a conversion",
        SERVED,
        desired(release(template="{{ other }}")),
        ["verify TemplateChanged", "register TemplateChanged", "retire Superseded"],
    ),
    (
        "a generation change is a new registration, never a conversion",
        SERVED,
        desired(release(temperature=0.1)),
        ["verify GenerationChanged", "register GenerationChanged", "retire Superseded"],
    ),
    ("a source that is not here is fetched before anything else", ROOMY, from_hub(UNSEEN), ["fetch SourceMissing"]),
    (
        "models that share a source share its download",
        ROOMY,
        from_hub(UNSEEN, wanted(release("rivers"), fetch=FETCH)),
        ["fetch SourceMissing"],
    ),
    (
        "a source that changed since it came is fetched again",
        ROOMY,
        from_hub(wanted(fetch=replace(FETCH, damaged=("config.json",)))),
        ["fetch DriftDetected"],
    ),
    ("what is served needs no source", SERVED, from_hub(wanted(BASE, fetch=FETCH)), []),
    (
        "another template needs no source either",
        SERVED,
        from_hub(wanted(release(template="{{ other }}"), fetch=FETCH)),
        ["verify TemplateChanged", "register TemplateChanged", "retire Superseded"],
    ),
    (
        "a lost artifact needs it",
        lose_folder(SERVED.without_artifacts()).with_observed(disk_free=1 << 30),
        from_hub(wanted(BASE, fetch=FETCH)),
        ["fetch SourceMissing"],
    ),
    (
        "while a source is not known no artifact is freed: it may be made from it",
        ROOMY.converge(desired(release("rivers"))).with_observed(disk_free=1 << 30, registrations=(), folders=()),
        from_hub(UNSEEN),
        ["fetch SourceMissing"],
    ),
    (
        "a source that nothing declares is freed",
        EMPTY.with_observed(locked_sources=SHELVED),
        desired(),
        ["prune Unreferenced"],
    ),
    ("a source that is declared stays", SERVED.with_observed(locked_sources=SHELVED), from_hub(BASE), []),
    (
        "no source is freed while a manifest is unreadable",
        EMPTY.with_observed(locked_sources=SHELVED),
        desired(complete=False),
        [],
    ),
    (
        "another block size is another artifact",
        SERVED,
        desired(release(block_size=128)),
        ["convert RecipeChanged", "verify RecipeChanged", "register RecipeChanged", "retire Superseded"],
    ),
    (
        "without a history limit the predecessor's artifact goes at once",
        SERVED,
        desired(wanted(release(block_size=128), history_limit=0)),
        [
            "convert RecipeChanged",
            "verify RecipeChanged",
            "register RecipeChanged",
            "retire Superseded",
            "prune Unreferenced",
        ],
    ),
    (
        "what is beyond the history limit goes",
        SERVED.converge(desired(release(block_size=128))),
        desired(release(block_size=64)),
        [
            "convert RecipeChanged",
            "verify RecipeChanged",
            "register RecipeChanged",
            "retire Superseded",
            "prune Unreferenced",
        ],
    ),
    ("a second precision does not touch the first", SERVED, desired(BASE, release(precision="int8")), NEW),
    (
        "two models of one recipe share one conversion",
        EMPTY,
        desired(BASE, release("rivers")),
        [*NEW, "verify ReleaseMissing", "register ReleaseMissing"],
    ),
    (
        "a model of a recipe that is already held needs no conversion",
        SERVED,
        desired(BASE, release("rivers")),
        ["verify ReleaseMissing", "register ReleaseMissing"],
    ),
    ("a changed served file is repaired", SERVED.damaged("model.onnx"), desired(BASE), ["repair DriftDetected"]),
    ("a lost served folder is repaired", lose_folder(SERVED), desired(BASE), ["repair DriftDetected"]),
    ("a removed registration is repaired", lose_registration(SERVED), desired(BASE), ["repair DriftDetected"]),
    ("a re-pointed registration is repaired", repoint(SERVED), desired(BASE), ["repair DriftDetected"]),
    (
        "folder and registration both lost are repaired under the same number",
        lose_folder(lose_registration(SERVED)),
        desired(BASE),
        ["repair DriftDetected"],
    ),
    (
        "with the artifact lost too it is built again first",
        lose_folder(SERVED).without_artifacts(),
        desired(BASE),
        ["convert DriftDetected", "repair DriftDetected"],
    ),
    ("a lost artifact is not missed while its release is whole", SERVED.without_artifacts(), desired(BASE), []),
    ("a registration removed while records are lost is registered anew", forgetful(SERVED), desired(BASE), []),
    ("an undeclared model is pruned, and then its artifact freed", TWO, desired(release("rivers")), ["prune Orphaned"]),
    (
        "the artifact goes when its last release goes",
        EMPTY.converge(desired(BASE, release("rivers", source="sha256:other"))),
        desired(BASE),
        ["prune Orphaned", "prune Unreferenced"],
    ),
    (
        "a precision taken out of a manifest is pruned without a confirmation",
        EMPTY.converge(desired(BASE, release(precision="int8"), release(precision="fp32"))),
        desired(BASE),
        ["prune Orphaned", "prune Orphaned", "prune Unreferenced", "prune Unreferenced"],
    ),
    ("a variant that could not be resolved is not an orphan", SERVED, desired(declared=(BASE.variant,)), []),
    ("nothing is pruned while a manifest is unreadable", TWO, desired(BASE, complete=False), []),
    ("an empty declaration prunes nothing", SERVED, desired(), []),
    ("a foreign model in the catalog is left alone", with_foreign(SERVED, "phi:1"), desired(BASE), []),
    ("a name that somebody else registered is not taken", with_foreign(EMPTY, "capitals-int4:7"), desired(BASE), []),
    ("a suspended variant is left as it is", EMPTY, desired(wanted(BASE, suspended=True)), []),
    ("a conversion that cannot fit is not begun", EMPTY, desired(wanted(BASE, peak_bytes=10**9)), []),
]


@pytest.mark.parametrize(("world", "want", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_plan(world: World, want: Desired, expected: list[str]) -> None:
    plan = world.plan(want)
    assert [f"{change.action} {change.reason}" for change in plan.changes] == expected
    assert {change.reason for change in plan.changes} | {held.reason for held in plan.held} <= set(Reason)


HELD: list[tuple[str, World, Desired, str]] = [
    ("empty declaration", SERVED, desired(), "NothingDeclared"),
    ("unreadable manifest", TWO, desired(BASE, complete=False), "ManifestsUnreadable"),
    ("taken name", with_foreign(EMPTY, "capitals-int4:7"), desired(BASE), "NameTaken"),
    ("suspended", EMPTY, desired(wanted(BASE, suspended=True)), "Suspended"),
    ("no room", EMPTY, desired(wanted(BASE, peak_bytes=10**9)), "DiskInsufficient"),
    (
        "protected",
        EMPTY.converge(desired(wanted(BASE, protected=True), release("rivers"))),
        desired(release("rivers")),
        "Protected",
    ),
    (
        "more than half",
        EMPTY.converge(desired(BASE, release("rivers"), release("seas"))),
        desired(release("seas")),
        "ConfirmationNeeded",
    ),
    ("a download that does not fit is not begun", EMPTY, from_hub(UNSEEN), "DiskInsufficient"),
    ("a suspended model is not fetched", ROOMY, from_hub(replace(UNSEEN, suspended=True)), "Suspended"),
]


@pytest.mark.parametrize(("world", "want", "reason"), [c[1:] for c in HELD], ids=[c[0] for c in HELD])
def test_what_is_not_done_is_held_with_its_reason(world: World, want: Desired, reason: str) -> None:
    plan = world.plan(want)
    assert not plan
    assert {held.reason for held in plan.held} == {reason}


def test_a_confirmation_lifts_the_prune_rails_but_not_the_others() -> None:
    assert [c.action for c in SERVED.plan(desired(), confirm=True).changes] == ["prune", "prune"]
    assert not TWO.plan(desired(BASE, complete=False), confirm=True)


def test_six_models_at_once_want_a_confirmation_even_out_of_twenty() -> None:
    models = [release(f"m{i:02}") for i in range(20)]
    world = EMPTY.converge(desired(*models))
    assert [c.action for c in world.plan(desired(*models[5:])).changes] == ["prune"] * 5
    assert not world.plan(desired(*models[6:]))


def test_forced_by_names_the_manifest_fields_with_both_values() -> None:
    convert, both, *_ = SERVED.plan(desired(release(block_size=128, temperature=0.5))).changes
    assert convert.forced_by == ("spec.quantization.blockSize",)
    assert both.forced_by == ("spec.generation.temperature", "spec.quantization.blockSize")
    verify = SERVED.plan(desired(release(block_size=128))).changes[1]
    assert verify.field_changes == (FieldChange(name="spec.quantization.blockSize", before=32, after=128),)


def test_protection_follows_the_manifest_not_the_marker() -> None:
    """Taken back by declaring the model once more without the annotation: the record follows, the marker is older."""
    world = EMPTY.converge(desired(wanted(BASE, protected=True), release("rivers")))
    remembered = replace(world.recorded.releases[BASE.variant], protected=False)
    lifted = replace(
        world, recorded=replace(world.recorded, releases={**world.recorded.releases, BASE.variant: remembered})
    )
    assert [c.action for c in lifted.plan(desired(release("rivers"))).changes] == ["prune"]


def test_what_is_protected_does_not_count_against_the_rails() -> None:
    models = [wanted(release(f"m{i}"), protected=i < 3) for i in range(5)]
    world = EMPTY.converge(desired(*models))
    plan = world.plan(desired(models[4]))
    assert [(c.action, c.variant) for c in plan.changes] == [("prune", "m3-int4")]
    assert {held.reason for held in plan.held} == {"Protected"}


def test_a_number_is_never_used_twice() -> None:
    pruned = SERVED.converge(desired(release("rivers")))
    again = pruned.plan(desired(BASE, release("rivers")))
    assert {change.number for change in again.changes if change.action == "register"} == {2}


def test_repair_keeps_the_number() -> None:
    assert lose_folder(lose_registration(SERVED)).plan(desired(BASE)).changes[0].number == 1


def test_a_leftover_folder_of_a_died_pass_is_retired() -> None:
    marker = marker_of(release(template="old"), 9)
    leftover = replace(SERVED.observed.folders[0], number=9, path="/root/served/capitals-int4/9", marker=marker)
    world = SERVED.with_observed(folders=(*SERVED.observed.folders, leftover))
    plan = world.plan(desired(BASE))
    assert [(c.action, c.number) for c in plan.changes] == [("retire", 9)]


def test_an_older_registration_that_survived_is_retired() -> None:
    old = registration(marker_of(release(template="old"), 0), "/root/served/capitals-int4/0")
    world = SERVED.with_observed(registrations=(old, *SERVED.observed.registrations))
    assert [(c.action, c.number) for c in world.plan(desired(BASE)).changes] == [("retire", 0)]


def test_a_folder_without_our_marker_is_never_removed() -> None:
    nobody = replace(SERVED.observed.folders[0], number=5, path="/root/served/capitals-int4/5", marker=None)
    theirs = replace(nobody, number=6, path="/x/6", marker=marker_of(BASE, 6, owner="f" * 32))
    world = SERVED.with_observed(folders=(*SERVED.observed.folders, nobody, theirs))
    assert not world.plan(desired(BASE))
    assert OWNER != "f" * 32


def test_cheap_changes_stand_before_conversions() -> None:
    want = desired(release("aaa", source="sha256:new"), release(template="{{ new }}"))
    actions = [f"{c.action} {c.variant}" for c in SERVED.plan(want).changes]
    assert actions.index("register capitals-int4") < actions.index("convert aaa-int4")
