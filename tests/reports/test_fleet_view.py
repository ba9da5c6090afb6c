"""What the view of a fleet says, made from reports: who counts as ready, what is worst, who is left behind."""

import json
from dataclasses import replace
from typing import Any

import pytest

from reconciler.domain.machine_report import (
    FORGED,
    UNKNOWN_KEY,
    UNSIGNED,
    VERIFIED,
    GateReport,
    JudgedReport,
    VariantReport,
)
from reconciler.domain.recorded import Condition
from reconciler.domain.rollout import Abortion, Promotion, Ring, Rollout
from reconciler.fleet.forge_links import Forge
from reconciler.fleet.machine_summary import report_of
from reconciler.reports.fleet.page import fleet_page
from reconciler.reports.fleet.text import fleet_text
from reconciler.reports.fleet.view import FleetFacts, SeenMachine, fleet_view
from reconciler.reports.text import Shown
from tests.machine_reports.documents import GOOD, NOW, machine

OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64
BAD = replace(GOOD, serves="", number=0, ready="False", reason="GateFailed", message="first token 812 ms")
COMMITS = ("c" * 40, "b" * 40, "a" * 40)


def seen(name: str, *variants: VariantReport, standing: str = VERIFIED, **changes: Any) -> SeenMachine:
    inventory = machine(name, summary=variants or (GOOD,), **changes)
    report = report_of(inventory)
    judged = JudgedReport(entry=name, standing=standing, report=report)  # type: ignore[arg-type]
    return SeenMachine(judged=judged, report=report, inventory=inventory)


def view_of(*machines: SeenMachine, **facts: Any) -> Shown:
    return fleet_view(FleetFacts(machines=machines, **facts), NOW)


def row(view: Shown, name: str) -> Shown:
    return next(one for one in view["machines"] if one["name"] == name)


def test_machines_stand_as_people_count_and_one_that_never_reported_is_among_them() -> None:
    view = view_of(seen("edge-100"), seen("edge-11"), seen("edge-9"), known={"edge-2"}, missing={"edge-2"})
    assert [one["name"] for one in view["machines"]] == ["edge-2", "edge-9", "edge-11", "edge-100"]
    assert row(view, "edge-2")["state"]["kind"] == "silent"
    assert "edge-2   it has never reported  nothing  unknown" in fleet_text(view)
    assert "NeverReported" in fleet_page(view).html
    assert view["totals"]["machines"] == 4


@pytest.mark.parametrize(
    ("one", "kind", "reason"),
    [
        (seen("x"), "ready", ""),
        (seen("x", BAD), "notReady", "GateFailed"),
        (seen("x", replace(GOOD, wanted=NEW)), "notReady", "Served"),
        (seen("x", replace(GOOD, wanted=NEW, ready="False", reason="Converting")), "working", "Converting"),
        (seen("x", replace(GOOD, serves="", ready="False", reason="AwaitingRing")), "working", "AwaitingRing"),
        (seen("x", replace(GOOD, ready="False", reason="Pulling"), BAD), "notReady", "GateFailed"),
        (seen("x", replace(GOOD, wanted="")), "ready", ""),  # of a version that does not say what is wanted
        (seen("x", generated="2026-11-20T00:00:00Z"), "silent", ""),
        (seen("x", generated="2026-11-23T12:00:00Z"), "silent", ""),  # a clock that is a day ahead
        (seen("x", generated="soon"), "silent", ""),
        (seen("x", standing=FORGED), "doubted", "Forged"),
        (replace(seen("x"), report=replace(seen("x").report, variants=())), "empty", ""),
    ],
)
def test_the_state_of_a_machine(one: SeenMachine, kind: str, reason: str) -> None:
    view = view_of(one)
    assert (view["machines"][0]["state"]["kind"], view["machines"][0]["state"]["reason"]) == (kind, reason)
    assert view["totals"][kind] == 1


@pytest.mark.parametrize("standing", [UNSIGNED, UNKNOWN_KEY])
@pytest.mark.parametrize("signed", [True, False])
def test_a_report_that_nobody_signed_counts_only_where_no_keys_are_given(standing: str, signed: bool) -> None:
    view = view_of(seen("x", standing=standing), signed=signed)
    assert (view["totals"]["ready"], view["totals"]["doubted"]) == ((0, 1) if signed else (1, 0))
    assert view["matrix"][0]["ready"] == (0 if signed else 1)


def test_a_machine_that_cannot_follow_git_is_not_ready() -> None:
    why = Condition(type="Followed", status="False", reason="Stale", message="no answer", last_transition_time="")
    view = view_of(seen("x", conditions=(why,)))
    assert view["machines"][0]["state"] == {"kind": "notReady", "reason": "Stale", "message": "no answer"}


def test_the_matrix_has_the_worst_model_first_by_group() -> None:
    other = replace(GOOD, variant="search-int4", model="search")
    view = view_of(
        seen("a", GOOD, other, labels={"site": "lab"}),
        seen("b", BAD, other, labels={"site": "shop"}),
        seen("c", other, labels={}),
        group_by="site",
    )
    assert view["groups"] == ["-", "lab", "shop"]
    assert [(one["model"], one["ready"], one["all"]) for one in view["matrix"]] == [
        ("capitals", 1, 2),
        ("search", 3, 3),
    ]
    assert [(c["group"], c["ready"], c["all"]) for c in view["matrix"][0]["cells"]] == [("lab", 1, 1), ("shop", 0, 1)]
    assert [one["name"] for one in view["machines"]] == ["b", "a", "c"]


def test_a_model_is_ready_where_all_its_variants_are() -> None:
    view = view_of(seen("a", GOOD, replace(BAD, variant="capitals-int8")))
    assert (view["matrix"][0]["ready"], view["matrix"][0]["all"]) == (0, 1)


def test_how_far_a_machine_is_behind() -> None:
    where = {"newest": "c", "behind": "a", "elsewhere": "f"}
    machines = [seen(name, applied_revision=f"main@sha1:{letter * 40}") for name, letter in where.items()]
    view = view_of(*machines, commits=COMMITS, repository="https://github.com/acme/fleet.git", branch="main")
    assert {one["name"]: one["behind"] for one in view["machines"]} == {"newest": 0, "behind": 2, "elsewhere": None}
    assert row(view, "behind")["compare"] == f"https://github.com/acme/fleet/compare/{'a' * 40}...main"
    assert (row(view, "newest")["compare"], view["totals"]["behind"]) == ("", 1)


def test_who_still_serves_an_old_release() -> None:
    view = view_of(seen("a"), seen("b", replace(GOOD, serves=OLD)), seen("c", replace(GOOD, wanted="", serves=NEW)))
    found = {one["release"]: (one["machines"], one["wanted"], one["some"]) for one in view["releases"]}
    assert found == {GOOD.wanted: (1, True, ["a"]), OLD: (1, False, ["b"]), NEW: (1, False, ["c"])}
    assert f"capitals-int4 {OLD[:19]}, which git wants no more, serves on b" in fleet_text(view)


def test_what_is_forged_or_behind_does_not_make_an_old_release_wanted() -> None:
    old = replace(GOOD, wanted=OLD, serves=OLD)
    forged, late = seen("x", old, standing=FORGED), seen("late", old, applied_revision=f"main@sha1:{'a' * 40}")
    for machines, found in (
        ((forged,), [(GOOD.wanted, 1, True, False)]),
        ((late,), [(GOOD.wanted, 1, True, False), (OLD, 1, True, True)]),
    ):
        view = view_of(seen("a"), *machines, commits=COMMITS)
        rows = [(one["release"], one["machines"], one["wanted"], one["onlyBehind"]) for one in view["releases"]]
        assert sorted(rows, reverse=True) == found
    assert "only where behind" in fleet_page(view).html


def test_numbers_of_a_forged_report_are_none_of_the_fleets() -> None:
    gated = replace(GOOD, gates=(GateReport(gate="performance", measure="ms", status="Successful", number=1.0),))
    assert view_of(seen("a", gated, standing=FORGED))["gates"] == []


def test_the_slowest_and_the_outlier() -> None:
    def gated(number: float) -> VariantReport:
        status = "Failed" if number > 400 else "Successful"
        return replace(
            GOOD, gates=(GateReport(gate="performance", measure="ms", status=status, number=number, bar=400),)
        )

    machines = [seen(f"m{at}", gated(200.0 + at)) for at in range(9)]
    view = view_of(*machines, seen("slow", gated(812.0)))
    (one,) = view["gates"]
    assert (one["highest"], one["lowest"]["machine"]) == ({"machine": "slow", "number": 812.0}, "m0")
    assert (one["failed"], one["machines"], one["bar"]) == (1, 10, 400)
    assert [each["machine"] for each in one["outliers"]] == ["slow"]


@pytest.mark.parametrize(
    ("generated", "said"),
    [
        ("2026-11-22T11:59:30Z", "just now"),
        ("2026-11-22T00:53:00Z", "11 h ago"),
        ("2026-11-20T00:53:00Z", "2 d ago"),
        ("2026-11-22T12:30:00Z", "in the future"),
        ("soon", "unknown"),
    ],
)
def test_the_text_says_when_a_machine_was_seen(generated: str, said: str) -> None:
    assert f"  {said}  " in fleet_text(view_of(seen("x", BAD, generated=generated)))


RINGS = (Ring(name="canary", machines=("a",), soak=86_400.0), Ring(name="early", machines=("b",)), Ring(name="broad"))
EDGE = Rollout(name="edge", file="r.yaml", line=1, rings=RINGS)


def test_the_ring_of_each_machine_and_what_a_ring_waits_for() -> None:
    fresh = replace(GOOD, ready_since="2026-11-22T05:00:00Z")
    waiting = replace(GOOD, serves=OLD, ready="False", reason="AwaitingRing", message="ring early waits")
    machines = [seen("a", fresh), *(seen(name, waiting) for name in "bcd")]
    view = view_of(*machines, seen("b2", waiting, standing=FORGED), rollouts=(EDGE,))
    assert [row(view, name)["ring"] for name in ("a", "b", "c")] == ["canary", "early", "broad"]
    (candidate,) = view["rollouts"][0]["candidates"]
    waits = [one["waitsFor"] for one in candidate["rings"]]
    soaked = "1 of 1 machines serve it and are Ready, for 6h of 24h (soak); 18h more at least"
    assert waits == [
        "",
        f"ring canary: {soaked}",
        "ring early: 0 of 1 machines serve it and are Ready, 1 must (readyShare 0.9)",
    ]
    assert [one["machines"] for one in candidate["rings"]] == [1, 1, 2]  # what is forged is in no ring
    assert f">for ring canary: {soaked}<" in fleet_page(view).html
    text = fleet_text(view)
    assert f"ring early       0/1 ready  waits for ring canary: {soaked}" in text
    assert "AwaitingRing: b, c, d\n" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paused": True}, "the end of the pause"),
        (
            {"aborted": (Abortion(release=GOOD.wanted, reason="wrong answers"),)},
            "nothing: it is aborted (wrong answers)",
        ),
        ({"promoted": (Promotion(release=GOOD.wanted),)}, ""),
        ({"models": ("other",), "covers": frozenset({"other"})}, None),
    ],
)
def test_a_hand_on_a_rollout_is_seen(changes: dict[str, Any], said: str | None) -> None:
    waiting = replace(GOOD, serves=OLD, ready="False", reason="AwaitingRing")
    view = view_of(seen("a", waiting), seen("b", waiting), rollouts=(replace(EDGE, **changes),))
    found = [one["rings"][1]["waitsFor"] for one in view["rollouts"][0]["candidates"]]
    assert found == ([] if said is None else [said])
    assert row(view, "a")["ring"] == ("" if said is None else "canary")


def test_with_two_rollouts_a_ring_is_named_with_its_own() -> None:
    assert row(view_of(seen("a"), rollouts=(EDGE, replace(EDGE, name="lab"))), "a")["ring"] == "edge/canary, lab/canary"


@pytest.mark.parametrize(
    ("url", "compare", "edit"),
    [
        (
            "https://github.com/a/b.git",
            "https://github.com/a/b/compare/{0}...main",
            "https://github.com/a/b/edit/main/m.yaml",
        ),
        (
            "git@github.com:a/b.git",
            "https://github.com/a/b/compare/{0}...main",
            "https://github.com/a/b/edit/main/m.yaml",
        ),
        (
            "ssh://git@gitlab.acme.org:2222/a/b.git",
            "https://gitlab.acme.org/a/b/-/compare/{0}...main",
            "https://gitlab.acme.org/a/b/-/edit/main/m.yaml",
        ),
        (
            "https://codeberg.org:8443/a/b",
            "https://codeberg.org:8443/a/b/compare/{0}...main",
            "https://codeberg.org:8443/a/b/_edit/main/m.yaml",
        ),
        ("file:///srv/fleet.git", "", ""),
        ("javascript:alert(1)", "", ""),
        ('https://h"><script>/a', "", ""),
        ("", "", ""),
    ],
)
def test_links_lead_to_the_page_that_would_change_it(url: str, compare: str, edit: str) -> None:
    forge = Forge(url, "main")
    assert (forge.compare("c" * 40), forge.edit("m.yaml")) == (compare.format("c" * 40), edit)
    assert forge.compare("--upload-pack=x") == ""


HOSTILE = "</script><script>alert(1)</script><!-- \"' &amp; \x1b[2J \u202e"


def test_hostile_texts_are_harmless_in_the_page() -> None:
    bad = replace(BAD, message=HOSTILE, reason="x<b>y")
    one = seen("edge<img src=x onerror=alert(1)>", bad, labels={"site": HOSTILE})
    problem = JudgedReport(entry=HOSTILE, standing=FORGED, why=HOSTILE)
    view = view_of(one, problems=(problem,), group_by="site")
    html = fleet_page(view).html
    assert "<img src=x" not in html
    assert html.count("<script") == 2  # the data, and ours
    assert "\x1b" not in html
    data = html.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data)["machines"]
    assert "<" not in data
    assert "\x1b" not in fleet_text(view)


def test_the_page_holds_a_row_of_numbers_for_each_machine_and_each_text_once() -> None:
    html = fleet_page(view_of(*(seen(f"edge-{at}") for at in range(50)))).html
    data = json.loads(html.partition('id="data">')[2].partition("</script>")[0])
    assert len(data["machines"]) == 50
    assert len(data["texts"]) == len(set(data["texts"]))
    assert html.count(GOOD.wanted) < 10


def test_an_empty_fleet_has_a_page_too() -> None:
    view = view_of()
    assert "No machine reports a model" in fleet_page(view).html
    assert fleet_text(view).startswith("0 of 0 machines are ready")


def test_the_policy_lets_nothing_run_or_load_that_is_not_in_the_page() -> None:
    policy = fleet_page(view_of(seen("a"))).policy
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
