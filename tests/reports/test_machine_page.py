"""The page of a machine: each state in a word, and what is made of hostile texts."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from reconciler.reports.machine.page import SECTIONS, machine_page
from reconciler.reports.machine.states import TONES, commands_for, state_of
from reconciler.reports.machine.view import document_at, machine_view
from tests.reports.machine_world import NOW, calm_facts, condition, machine_facts, variant

NASTY = '</td><script>alert("1")</script><img src=x onerror=alert(1)>\x1b[2J\u202e&amp;\'"{{ 7 * 7 }}'
JOB = {"action": "convert", "variant": "a-int4", "since": NOW, "fraction": 0.43, "text": "layer 14"}
HELD = {"name": "a", "reason": "measured", "since": NOW, "until": ""}
STALLED = condition("Stalled", "True", "ConversionFailed", "it died")
WORDS: dict[str, tuple[tuple[str, str, str], tuple[dict[str, str], ...], dict[str, Any], list[Any], str, str]] = {
    "it serves": (("True", "Served", ""), (), {}, [], "Ready", "good"),
    "a conversion runs": (("False", "Converting", ""), (), {}, [JOB], "Converting 43 %", "busy"),
    "a download runs": (("False", "Fetching", ""), (), {}, [JOB | {"action": "fetch"}], "Downloading 43 %", "busy"),
    "its job is not seen yet": (("False", "Converting", ""), (), {}, [], "Converting", "busy"),
    "no registry has it": (("False", "AwaitingBuild", ""), (), {}, [], "AwaitingBuild", "wait"),
    "a gate rejects it": (("False", "GateFailed", ""), (), {}, [], "GateFailed", "bad"),
    "a file was changed": (("False", "DriftDetected", ""), (), {}, [], "Drifted", "bad"),
    "it is suspended": (("True", "Served", ""), (), {"suspension": HELD}, [], "Suspended", "held"),
    "until then": (
        ("True", "Served", ""),
        (),
        {"suspension": HELD | {"until": "2026-02-02T08:00:00Z"}},
        [],
        "Suspended until 2026-02-02 08:00 UTC",
        "held",
    ),
    "by the manifest": (
        ("True", "Served", ""),
        (condition("Stalled", "True", "Suspended", "spec.suspend"),),
        {},
        [],
        "Suspended",
        "held",
    ),
    "a step failed": (("False", "ConversionFailed", "it died"), (STALLED,), {}, [], "Stalled", "bad"),
    "it was given up": (("False", "RetriesExceeded", ""), (), {}, [], "RetriesExceeded", "bad"),
    "its window comes": (("False", "AwaitingWindow", ""), (), {}, [], "AwaitingWindow", "wait"),
    "a person is to confirm": (("False", "ConfirmationNeeded", ""), (), {}, [], "ConfirmationNeeded", "held"),
    "it serves, and something is to be done": (
        ("True", "Served", ""),
        (condition("Stalled", "True", "GateUnmeasured", "not measured"),),
        {},
        [],
        "Ready",
        "wait",
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_a_state_in_a_word(case: str) -> None:
    ready, more, changes, jobs, word, tone = WORDS[case]
    found = state_of(variant("a", "int4", ready, more, **changes), jobs)
    assert (found["word"], found["tone"]) == (word, tone)
    assert tone in TONES


def test_whose_word_a_suspension_is() -> None:
    by_manifest = condition("Stalled", "True", "Suspended", "would convert")
    found = state_of(variant("a", "int4", ("True", "Served", ""), (by_manifest,)), [])
    assert found["message"] == "by its manifest (suspend: true); would convert"


def test_what_no_pass_has_judged_is_unknown() -> None:
    found = state_of({**variant("a", "int4", ("True", "Served", "")), "conditions": []}, [])
    assert (found["word"], found["tone"], found["message"]) == ("Unknown", "quiet", "no pass has judged it yet")


def test_the_commands_fit_the_state_and_a_name_cannot_leave_its_place() -> None:
    def commands(ready: tuple[str, str, str], releases: int = 1, **changes: Any) -> list[str]:
        one = variant("a", "int4", ready, **changes)
        return [str(each["command"]) for each in commands_for(one, state_of(one, []), releases)]

    assert "reconciler retry a-int4" in commands(("False", "FailedBefore", ""))
    assert "reconciler history a-int4" in commands(("False", "GateFailed", ""))
    assert "reconciler resume a" in commands(("True", "Served", ""), suspension=HELD)
    assert "reconciler apply --confirm" in commands(("False", "ConfirmationNeeded", ""))
    assert "reconciler rollback a-int4 --dry-run" in commands(("True", "Served", ""), 2)
    assert not [one for one in commands(("True", "Served", "")) if "rollback" in one or "retry" in one]
    assert "reconciler explain 'a;rm -rf ~'" in commands(("True", "Served", ""), variant="a;rm -rf ~")


def test_the_summary_says_the_worst() -> None:
    busy, calm = machine_view(machine_facts()), machine_view(calm_facts())
    assert busy["summary"]["text"] == "3 of 8 variants serve what git declares; 1 problem in what is declared"  # type: ignore[index]
    assert busy["summary"]["tone"] == "bad"  # type: ignore[index]
    well = {
        "text": "both variants serve what git declares",
        "tone": "good",
        "tones": {"good": 2},
        "ready": 2,
        "variants": 2,
    }
    assert calm["summary"] == well
    early = machine_view(machine_facts(not_known="the first look at this machine is under way"))
    assert early["summary"]["text"].startswith("the first look at this machine is under way")  # type: ignore[index]


def test_everything_that_is_known_is_on_the_page() -> None:
    html = machine_page(machine_view(machine_facts())).document.html
    for text in (
        "Converting 43 %",
        "quantizing layer 14 of 32".capitalize(),
        "2 commits behind",
        "capitals: larger blocks for int8",
        "top-1 agreement 0.8123, at least 0.9 wanted",
        "spec.quantization.blockSize: 32 -&gt; 64",
        '<td role="cell" data-label="Number">0.9712</td>',
        '<td role="cell" data-label="Bar">0.9</td>',
        "manifests/gemma.yaml:12",
        "35.4 GiB of 119.2 GiB",
        "&lt;|im_start|&gt;user",
        "# served as capitals-int4 and capitals-int8",
        "Size against fidelity",
        "others: from registry.example.org/models, signed by builders",
    ):
        assert text in html, text


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_what_others_wrote_is_shown_and_not_obeyed() -> None:
    page = machine_page(machine_view(machine_facts(lambda text: f"{text} {NASTY}")))
    usual = Reader(machine_page(machine_view(machine_facts())).document.html)
    read = Reader(page.document.html)
    assert {tag for tag, _ in read.tags} == {tag for tag, _ in usual.tags}
    assert not [name for _, names in read.tags for name in names if name.startswith("on") or name == "style"]
    assert [names for tag, names in read.tags if tag == "script"] == [{}]
    assert "\x1b" not in page.document.html
    assert "\u202e" not in page.document.html
    assert "{{ 7 * 7 }}" in page.document.html  # no template of a template
    assert len(re.findall("&lt;script&gt;", page.document.html)) > 100


def test_every_id_is_there_once_and_what_is_named_is_there() -> None:
    tags = Reader(machine_page(machine_view(machine_facts())).document.html).tags
    ids = [str(names["id"]) for _, names in tags if "id" in names]
    assert len(ids) == len(set(ids))
    named = {one for _, names in tags for one in (names.get("aria-labelledby") or "").split()}
    named |= {str(names["href"])[1:] for tag, names in tags if tag == "a" and str(names["href"]).startswith("#")}
    assert named <= set(ids)
    assert [tag for tag, _ in tags if tag in ("header", "nav", "main", "footer")] == ["header", "nav", "main", "footer"]
    assert sum(tag == "h1" for tag, _ in tags) == 1


def test_a_part_has_another_digest_when_it_shows_something_else() -> None:
    facts = machine_facts()
    before, same = (machine_page(machine_view(facts)).digests for _ in range(2))
    after = machine_page(machine_view(machine_facts(events_shown=13))).digests
    assert before == same
    assert {name for name in SECTIONS if before[name] != after[name]} == {"events"}


@pytest.mark.parametrize(
    ("line", "found"),
    [(1, "a: 1"), (3, "b: |\n  --- no marker\n  text"), (5, "b: |\n  --- no marker\n  text"), (8, "c: 3")],
)
def test_the_document_of_a_line(line: int, found: str) -> None:
    text = "a: 1\n---\nb: |\n  --- no marker\n  text\n--- # next\n\nc: 3\n...\n"
    assert document_at(text, line) == found


def test_an_event_of_any_form_is_shown() -> None:
    odd = [{}, {"time": 7, "number": "x", "seconds": None, "message": ["a"]}, {"type": "convert.done", "seconds": 2.5}]
    facts = machine_facts(events_shown=0, events=odd)
    assert "in 2.5 s" in machine_page(machine_view(facts)).document.html


def test_the_document_of_nothing_is_nothing() -> None:
    assert document_at("", 7) == ""
