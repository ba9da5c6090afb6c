"""What the page shows of a real root: of the records, the last pass, a running job, the manifests and a benchmark."""

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.daemon.http import page_source
from reconciler.daemon.http.page_source import PageSource
from reconciler.daemon.state import Board, Moment, State
from reconciler.domain.layout import Layout
from reconciler.engine.machine import open_machine
from reconciler.operations.benchmark import keep_for_page
from reconciler.reports.machine.view import Standing
from reconciler.sources.manifests import load
from reconciler.state.progress import last_benchmark
from reconciler.state.records import Records
from tests.machine import TestMachine
from tests.releases import release
from tests.reports.machine_world import measured


class Shown:
    """A page before a root on which one release was made."""

    def __init__(self, machine: TestMachine) -> None:
        self.machine = machine
        self.result = release(machine, precisions="int4", template="chatml")
        self.layout = Layout(str(machine.root))
        self.board = Board(State(started=Moment.now(), interval=60.0))
        self.asked: list[tuple[str, str]] = []
        self.page = PageSource(self.board, self.layout, "edge-17", None, self._stands)

    def _stands(self, layout: Layout, attempted: str, applied: str) -> Standing:
        self.asked.append((attempted, applied))
        return Standing(origin="somewhere")

    def pass_ends(self) -> None:
        declared = load(str(self.machine.manifests))
        self.board.update(ready=True, seen=self.result, declared=declared, last_pass=Moment.now())

    def view(self) -> Any:
        return json.loads(json.dumps(self.page.view()))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> Shown:
    machine = TestMachine(folder=tmp_path_factory.mktemp("page"))
    machine.give_model(capitals)
    return Shown(machine)


@pytest.fixture
def shown(prepared: Shown, monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setattr(page_source, "AGAIN", 0.0)
    monkeypatch.setattr(page_source, "RESTS", 0.0)
    return prepared


def test_before_the_first_pass_it_says_so(shown: Shown) -> None:
    view = shown.view()
    assert view["summary"]["text"] == "the first look at this machine is under way"
    assert view["models"] == []


def test_after_a_pass_it_shows_what_serves_and_what_was_declared(shown: Shown) -> None:
    shown.pass_ends()
    view = shown.view()
    (model,) = view["models"]
    (variant,) = model["variants"]
    assert (variant["variant"], variant["id"], variant["state"]["word"]) == (
        "capitals-int4",
        "capitals-int4:1",
        "Ready",
    )
    assert view["plan"]["changes"] == []
    (history,) = view["history"]
    assert [one["state"] for one in history["releases"]] == ["serves"]
    assert {one["gate"] for one in history["releases"][0]["gates"]} >= {"fidelity", "load"}
    (declared,) = view["declared"]
    assert declared["text"].startswith("apiVersion: reconciler.foundry/v1alpha1\nkind: Model")
    assert "<|im_start|>user\nAnd of Italy?" in declared["rendered"]
    assert view["disk"]["store"] > 0
    assert view["disk"]["free"] < view["disk"]["total"]
    assert view["events"][0]["type"] == "variant.ready"


def test_an_event_a_suspension_and_a_benchmark_show_without_a_pass(shown: Shown) -> None:
    shown.pass_ends()
    before = shown.page.digests()
    records = Records(shown.layout)
    records.add_event("variant.stalled", variant="capitals-int4", reason="GateFailed")
    changed = {name for name, one in shown.page.digests().items() if one != before[name]}
    assert changed - {"disk"} == {"events"}  # others write to the same disk
    done = shown.machine.run("suspend", "capitals", "--reason", "measured")
    assert done.code == 0, done.err
    assert shown.view()["models"][0]["variants"][0]["state"]["word"] == "Suspended"
    shown.machine.run("resume", "capitals")
    keep_for_page(open_machine(str(shown.machine.root), str(shown.machine.cache)), dict(measured()))
    assert [one["name"] for one in shown.view()["benchmark"]["models"]] == ["phi", "odd"]
    assert "Size against fidelity" in str(shown.page.part("benchmark"))


def test_nothing_is_made_anew_while_nothing_changes(shown: Shown) -> None:
    shown.pass_ends()
    first, asked = shown.page.view(), len(shown.asked)
    assert shown.page.view() is first
    assert len(shown.asked) == asked  # git is asked for another commit only


def test_what_is_dear_to_make_is_made_seldom(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    shown.pass_ends()
    monkeypatch.setattr(page_source, "RESTS", 1e9)
    page = PageSource(shown.board, shown.layout, "edge-17", None, shown._stands)
    first = page.view()
    Records(shown.layout).add_event("variant.stalled", variant="capitals-int4", reason="GateFailed")
    assert page.view() is first


@pytest.mark.parametrize(
    "drawing",
    [
        "<script>alert(1)</script>",
        '<g onclick="alert(1)"/>',
        '<a xlink:href="https://evil.example"><text>x</text></a>',
        '<use xlink:href="https://evil.example/x.svg"/>',
        '<g fill="url(https://evil.example)"/>',
        '<image href="https://evil.example"/>',
        "<foreignObject/>",
        "</svg><script>alert(1)</script><svg>",
        "<g>",
    ],
)
def test_a_drawing_that_is_more_than_shapes_is_not_shown(shown: Shown, drawing: str) -> None:
    shown.pass_ends()
    kept = json.loads(json.dumps(measured()))
    plots = kept["models"][0]["plots"]
    assert shown.page.part("benchmark")
    plots[0]["drawing"] = drawing
    last_benchmark(shown.layout).write(kept)
    found = shown.view()["benchmark"]["models"][0]["plots"]
    assert found[0]["drawing"] == ""
    assert found[1]["drawing"] == plots[1]["drawing"] != ""
