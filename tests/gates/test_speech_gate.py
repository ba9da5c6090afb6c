"""The speech gate: what is heard and what should be, that other words need no new hearing; and the load gate of
models that hear."""

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.domain.desired import Desired
from reconciler.domain.errors import PermanentError, RehearsalFailed
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import Measured, Numbers, Transcribed
from reconciler.domain.recorded import Recorded
from reconciler.domain.targets.tasks import CHAT, SPEECH
from reconciler.domain.verdict import Verdict
from reconciler.gates.judgement import gates_of, judge, needed, with_verdicts
from reconciler.gates.load import LoadGate
from reconciler.gates.recording import Recording, a_tone
from reconciler.gates.runtime import MeasuringRuntime, RegisteredCandidate, Rehearsal
from reconciler.gates.speech import GoldenRecording, SpeechGate

HELD = Measured(release="", build_key="")
HELLO = GoldenRecording(name="a.wav", audio=Recording.of(b"hello"), check="contains", expected="world")
SLOVENIAN = replace(HELLO, language="sl", check="exact", expected="hello world sl")


class Hearing:
    """Hears what a recording spells, and the language that it is asked in."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str]] = []

    def transcribe(self, identity: str, audio: bytes, language: str) -> Transcribed:
        self.asked.append((audio, language))
        return Transcribed(text=f" {audio[:9].decode('latin-1')} world {language}\n", load_seconds=2.0, seconds=0.5)

    def candidate(self, folder: Path | None = None) -> RegisteredCandidate:
        rest = {"measure": lambda: (7, {"x": "1"}), "memory": lambda: 1}
        runtime = cast("MeasuringRuntime", SimpleNamespace(transcribe=self.transcribe, **rest))
        return RegisteredCandidate(runtime=runtime, folder=str(folder), name="x:1", task=SPEECH)


def measured(*cases: GoldenRecording) -> Measured:
    return replace(HELD, **SpeechGate(cases=cases, min_pass=1).measure(Hearing().candidate(), HELD))


def judged(gate: SpeechGate, held: Measured) -> list[Verdict]:
    return list(gate.judge(Numbers(precision="fp32", measured=held)))


RIGHT_OR_WRONG = {
    "it has the words in it": (HELLO, ""),
    "it has not": (replace(HELLO, expected="World"), 'a.wav: wanted to contain "World", got "hello world en"'),
    "exactly the words": (SLOVENIAN, ""),
    "more than the words": (
        replace(SLOVENIAN, expected="hello"),
        'a.wav: wanted exactly "hello", got "hello world sl"',
    ),
}


@pytest.mark.parametrize("case", RIGHT_OR_WRONG)
def test_a_golden_recording(case: str) -> None:
    golden, wrong = RIGHT_OR_WRONG[case]
    (verdict,) = judged(SpeechGate(cases=(golden,), min_pass=1), measured(golden))
    assert (verdict.rejects, verdict.misses) == (bool(wrong), (wrong,) if wrong else ())
    assert wrong in verdict.message


def test_a_recording_is_heard_once_in_each_language_and_other_words_judge_it_again() -> None:
    hearing = Hearing()
    gate = SpeechGate(cases=(HELLO, SLOVENIAN, replace(HELLO, name="b.wav", expected="x")), min_pass=3)
    held = replace(HELD, **gate.measure(hearing.candidate(), HELD))
    assert hearing.asked == [(b"hello", "en"), (b"hello", "sl")]
    assert not gate.missing(Numbers(precision="", measured=held))
    (verdict,) = judged(gate, held)
    assert (verdict.number, verdict.bar, verdict.rejects) == (2.0, 3.0, True)
    more = replace(gate, cases=(*gate.cases, replace(HELLO, audio=Recording.of(b"new"))))
    assert more.missing(Numbers(precision="", measured=held))
    assert [one.status for one in judged(more, held)] == ["Inconclusive"]
    assert replace(HELD, **more.measure(hearing.candidate(), held)).answers.keys() > held.answers.keys()
    assert len(hearing.asked) == 3
    told = replace(HELD, asked=tuple(held.answers))  # as an inventory says it
    assert [one.message for one in judged(gate, told)] == ["only the machine itself knows what it heard"]


class Dying(Hearing):
    """Dies on the third recording."""

    def transcribe(self, identity: str, audio: bytes, language: str) -> Transcribed:
        if len(self.asked) == 2:
            raise PermanentError("it died", code="RuntimeDied")
        return super().transcribe(identity, audio, language)

    def rehearsal(self) -> Rehearsal:
        catalog: dict[str, Any] = dict.fromkeys(("register", "unregister", "close", "kill"), lambda *_: None)
        return Rehearsal(cast("MeasuringRuntime", SimpleNamespace(transcribe=self.transcribe, **catalog)))


def test_what_was_heard_is_kept_recording_by_recording_and_each_is_a_sign_of_life() -> None:
    cases = tuple(replace(HELLO, name=name, audio=Recording.of(name.encode())) for name in "abc")
    gate, found, signs = SpeechGate(cases=cases, min_pass=3), list[Measured](), list[int]()
    proved = Dying().rehearsal().prove("", "x:1", [gate], HELD, task=SPEECH, alive=lambda: signs.append(1))
    with pytest.raises(RehearsalFailed, match="it died"):
        found.extend(proved)
    assert [len(one.answers) for one in found] == [1, 2]
    assert len(signs) == 2
    hearing = Hearing()
    assert len(gate.measure(hearing.candidate(), found[-1])["answers"]) == 3
    assert hearing.asked == [(b"c", "en")]


def test_what_may_take_long_is_measured_beside_the_passes() -> None:
    assert needed(GateSpec.of(SpeechGate(cases=(HELLO,), min_pass=1), task=SPEECH), None, HELD).slow


def test_it_is_shown_without_the_recording() -> None:
    shown = dict(SpeechGate(cases=(HELLO, SLOVENIAN), min_pass=2).shown_fields(()))
    assert shown.pop("minPass") == "2 of 2"
    assert list(shown.values()) == ['to contain "world"', 'exactly "hello world sl"']
    assert all(name.startswith('"a.wav" (') for name in shown)


def test_only_a_model_that_hears_is_asked() -> None:
    gate = SpeechGate(cases=(HELLO,), min_pass=1)
    assert gate not in gates_of(GateSpec.of(gate, task=CHAT))
    assert [one.name for one in gates_of(GateSpec.of(gate, task=SPEECH))] == ["load", "tokenizer", "speech"]


def test_what_was_judged_keeps_no_recording() -> None:
    """A daemon remembers verdicts longer than manifests."""
    spec = GateSpec.of(SpeechGate(cases=(replace(HELLO, audio=Recording.of(b"heavy")),), min_pass=1), task=SPEECH)
    assert gates_of(spec)[-1].cases[0].audio.data == b"heavy"  # type: ignore[attr-defined]
    assert judge(spec, "fp32", None, HELD) == judge(spec.as_judged, "fp32", None, HELD)
    assert spec.as_judged == spec
    heavy = weakref.ref(spec.get(SpeechGate).cases[0].audio)  # type: ignore[union-attr]
    del spec
    gc.collect()
    assert heavy() is None


def test_verdicts_of_what_was_measured_before_are_forgotten() -> None:
    gate = SpeechGate(cases=(HELLO,), min_pass=1)
    for number in range(400):
        judged_once = replace(HELD, release=str(number))
        judge(GateSpec.of(gate, task=SPEECH), "fp32", None, judged_once)
    with_verdicts(Desired(revision="", wanted=()), Recorded())
    kept = weakref.ref(judged_once)
    del judged_once
    gc.collect()
    assert kept() is None


def test_it_loads_where_it_hears_a_tone(tmp_path: Path) -> None:
    (tmp_path / "genai_config.json").write_text(json.dumps({"model": {"decoder": {}}}))
    hearing = Hearing()
    found = LoadGate().measure(hearing.candidate(tmp_path), HELD)["load"]
    assert (found.load_seconds, found.first_token_seconds, found.completion_tokens) == (2.0, 0.5, 0)
    assert hearing.asked == [(a_tone(), "en")]
