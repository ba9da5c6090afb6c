"""/metrics: a parser that we did not write reads it; docs/metrics.md names what it holds, and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler.daemon.metrics import MetricFamily, MetricSample, number, page
from reconciler.daemon.state import Moment
from reconciler.domain.changes import Convert, Cost
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.manifest import Fixture
from reconciler.domain.measured import Measured, Referenced
from reconciler.domain.plan import Outcome
from reconciler.domain.reasons import HOLDS, Reason
from reconciler.domain.reference import METHOD
from reconciler.domain.targets.tasks import EMBEDDINGS, SPEECH
from reconciler.domain.verdict import VERDICTS, Verdict
from reconciler.gates.embeddings import EmbeddingsGate, GoldenText
from reconciler.gates.endurance import EnduranceGate
from reconciler.gates.judgement import GATES, judge
from reconciler.gates.performance import PerformanceGate
from reconciler.gates.prompts import GoldenPrompt, PromptsGate
from reconciler.gates.recording import Recording
from reconciler.gates.speech import GoldenRecording, SpeechGate
from reconciler.gates.template import TemplateGate
from reconciler.state.progress import Reported, Round, Scrubbed, report_progress, scrub_progress
from tests.daemon.faces import Faced, condition, conditions, faced
from tests.planner.world import release

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
HOSTILE = 'a"} 1\nreconciler_converged 1\n# HELP x \\'


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Faced]:
    with faced(tmp_path / "root") as face:
        yield face


def read(one: Faced) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    status, text, headers = one.ask("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def verdict(gate: str, status: str) -> Verdict:
    return Verdict(gate=gate, measure="peakMemory", status=status, number=2.0, bar=1.0, message="")


def step(action: str, status: str = "done", *, download: int = 0) -> Outcome:
    kind = type("Step", (Convert,), {"action": action})
    change = kind(reason=Reason.ARTIFACT_MISSING, release=release("a"), cost=Cost(download_bytes=download))
    return Outcome(change=change, status=status)


def busy(one: Faced) -> None:
    """A state in which every family has something to tell."""
    one.board.update(
        ready=True,
        passes={"converged": 3, "partly": 1},
        wakes={"webhook": 2},
        last_pass=Moment.now(),
        last_fetch=Moment.now(),
        last_result="converged",
        attempted="folder@sha256:" + "c0ffee" * 6,
        applied="release/1.0@sha1:" + "c0ffee" * 6,
        conditions=conditions(a=condition("Ready"), b=condition("Ready", "False", "Suspended")),
        downloaded={"ghcr.io": 7, "huggingface": 9},
        download_budget=(16, 5 << 30),
        sizes={"a": 12_345_678_901, "b": 1},
        verdicts={
            "a": (verdict("load", "Successful"), verdict("prompts", "Failed")),
            "b": (verdict("load", "Successful"),),
        },
        running=(Convert(reason=Reason.ARTIFACT_MISSING, release=release("b")),),
    )
    scrubbed = Round(began="2026-01-01T00:00:00Z", ended="2026-01-02T00:00:00Z", checked=10**9, total=10**9)
    scrub_progress(one.layout).write(Scrubbed(last=scrubbed, now=replace(scrubbed, checked=10**8)))
    report_progress(one.layout).write(Reported(to="x", when="2026-01-02T00:00:00Z", why="it does not answer"))
    one.board.step_ended(step("convert"))
    one.board.step_ended(step("fetch", download=3_000_000_000))


def test_what_they_say(one: Faced) -> None:
    busy(one)
    one.board.pass_took(0.07)
    one.board.pass_took(3.0)
    found = read(one)
    expected = {
        ("reconciler_passes_total", (("result", "converged"),)): 3,
        ("reconciler_passes_total", (("result", "failed"),)): 0,
        ("reconciler_pass_duration_seconds_bucket", (("le", "0.05"),)): 0,
        ("reconciler_pass_duration_seconds_bucket", (("le", "0.1"),)): 1,
        ("reconciler_pass_duration_seconds_bucket", (("le", "+Inf"),)): 2,
        ("reconciler_pass_duration_seconds_count", ()): 2,
        ("reconciler_pass_duration_seconds_sum", ()): 3.07,
        ("reconciler_wakes_total", (("reason", "webhook"),)): 2,
        ("reconciler_steps_total", (("action", "convert"), ("result", "done"))): 1,
        ("reconciler_fetched_bytes_total", ()): 3_000_000_000,
        ("reconciler_fetches_running", ()): 0,
        ("reconciler_report_failing", ()): 1,
        ("reconciler_report_timestamp_seconds", ()): 1_767_312_000,
        ("reconciler_conversions_running", ()): 1,
        ("reconciler_variants", (("condition", "Ready"), ("status", "True"))): 1,
        ("reconciler_variants", (("condition", "Ready"), ("status", "False"))): 1,
        ("reconciler_variants", (("condition", "Stalled"), ("status", "True"))): 0,
        ("reconciler_variants_held", (("reason", "Suspended"),)): 1,
        ("reconciler_variants_held", (("reason", "GateFailed"),)): 0,
        ("reconciler_gate_verdicts", (("gate", "prompts"), ("status", "Failed"))): 1,
        ("reconciler_gate_verdicts", (("gate", "load"), ("status", "Successful"))): 2,
        ("reconciler_gate_verdicts", (("gate", "endurance"), ("status", "Inconclusive"))): 0,
        ("reconciler_served_bytes", ()): 12_345_678_902,
        ("reconciler_converged", ()): 1,
        ("reconciler_stale", ()): 0,
        ("reconciler_revision_info", (("revision", "release/1.0@sha1:" + "c0ffee" * 6), ("state", "applied"))): 1,
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert 0 <= found["reconciler_fetch_age_seconds", ()] < 10
    assert found["process_resident_memory_bytes", ()] > 10 << 20


def test_the_page_of_documentation_names_them_all_and_no_others(one: Faced) -> None:
    busy(one)
    _, text, _ = one.ask("/metrics")
    told = set(re.findall(r"^# TYPE (\S+ \S+)$", text, re.MULTILINE))
    documented = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|", PAGE.read_text(), re.MULTILINE)
    assert told == {" ".join(row) for row in documented}


def test_names_follow_the_conventions(one: Faced) -> None:
    busy(one)
    _, text, _ = one.ask("/metrics")
    kinds = dict(line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE"))
    for name, kind in kinds.items():
        assert re.fullmatch(r"(reconciler|process)(_[a-z]+)+", name)
        assert name.endswith("_total") == (kind == "counter")


def test_no_name_of_a_variant_gets_in(one: Faced) -> None:
    one.board.update(
        conditions=conditions(**{HOSTILE: condition("Ready"), "secret-name": condition(HOSTILE)}),
        verdicts={HOSTILE: (verdict(HOSTILE, HOSTILE),)},
        sizes={HOSTILE: 1},
        attempted=HOSTILE,
    )
    one.board.step_ended(step(HOSTILE, HOSTILE))
    _, text, _ = one.ask("/metrics")
    assert HOSTILE.partition('"')[2] not in text
    assert "secret-name" not in text
    assert ("reconciler_steps_total", (("action", "other"), ("result", "other"))) in read(one)


def test_steps_are_counted(one: Faced) -> None:
    for _ in range(20):
        one.board.step_ended(step("repair"))
    one.board.step_ended(step("fetch", "failed", download=5))
    assert read(one)["reconciler_steps_total", (("action", "repair"), ("result", "done"))] == 20
    assert read(one)["reconciler_steps_total", (("action", "fetch"), ("result", "failed"))] == 1
    assert read(one)["reconciler_fetched_bytes_total", ()] == 0


def test_labels_and_help_are_escaped() -> None:
    family = MetricFamily(
        name="x", kind="gauge", help="a\nb\\c", samples=(MetricSample(value=1.5, labels={"l": HOSTILE}),)
    )
    (parsed,) = text_string_to_metric_families(page([family]))
    assert parsed.samples[0].labels == {"l": HOSTILE}
    assert parsed.documentation == "a\nb\\c"


@pytest.mark.parametrize(
    ("held", "text"), [(True, "1"), (0, "0"), (12_345_678_901.0, "12345678901"), (0.25, "0.25"), (1e300, "1e+300")]
)
def test_numbers(held: float, text: str) -> None:
    assert number(held) == text


def test_a_reason_either_holds_variants_back_and_is_counted_or_is_one_of_these() -> None:
    assert set(Reason) - HOLDS == {
        "ArtifactMissing",
        "DiskShort",
        "DriftDetected",
        "FormatChanged",
        "GateUnmeasured",
        "GenerationChanged",
        "InUse",
        "MakesWay",
        "ManifestsUnreadable",
        "NotSelected",
        "Orphaned",
        "PrecisionChanged",
        "RecipeChanged",
        "ReleaseMissing",
        "Retained",
        "RuntimeChanged",
        "SourceMissing",
        "Superseded",
        "TemplateChanged",
        "Unrecorded",
        "Unreferenced",
    }


def test_every_verdict_that_gates_give_is_counted() -> None:
    """The labels are a closed set: a gate that is added later has to be told here, too."""
    fixture = Fixture(messages=(("user", "q"),), rendered="q")
    prompts = PromptsGate(cases=(GoldenPrompt(messages=(), check="exact", expected="x"),), min_pass=1)
    texts = EmbeddingsGate(cases=(GoldenText(text="a", near="b", at_least=0.9),), min_pass=1)
    gates = GateSpec.of(prompts, PerformanceGate(), EnduranceGate(), TemplateGate(fixtures=(fixture,)))
    referenced = Referenced(method=METHOD, positions=1, median_kl=0, source_kl=0, built_kl=0, agreed=1, built_agreed=1)
    measured = Measured(release="sha256:0", build_key="sha256:1", referenced=referenced)
    heard = SpeechGate(
        cases=(GoldenRecording(name="a.wav", audio=Recording.of(b""), check="exact", expected="x"),), min_pass=1
    )
    specs = (gates, GateSpec.of(texts, task=EMBEDDINGS), GateSpec.of(heard, task=SPEECH))
    found = [verdict for spec in specs for verdict in judge(spec, "int4", None, measured)]
    assert {one.gate for one in found} == {gate.name for gate in GATES}
    assert {one.status for one in found} <= set(VERDICTS)
