"""The speech gate: golden recordings, and the words that a candidate must hear in them. What it hears is kept as it is,
so that other words judge it again without another hearing; it stays on the machine, as answers do. Which recordings
are taken, `gates.recording` says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

from reconciler.domain import digest
from reconciler.domain.measured import Measured, Numbers, Transcribed
from reconciler.domain.targets.tasks import SPEECH
from reconciler.domain.text.quoting import shown
from reconciler.domain.verdict import Verdict, inconclusive, of_cases
from reconciler.gates.recording import Recording
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate

HEARD = ("exact", "contains")  # the ways in which words are compared
ENGLISH = "en"
TEXT_SHOWN = 120  # characters of a text in a message
LONGEST_TEXT = 4_096  # characters of what was heard that are kept

# Those that Foundry Local 2.2.1 asks a model for; it takes any other word for English, in silence.
_CODES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml "
    "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am "
    "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su"
)
LANGUAGES = frozenset(_CODES.split())


@dataclass(frozen=True, kw_only=True)
class GoldenRecording:
    """`name` is the file, as a manifest writes it; `check` is one of HEARD."""

    name: str
    audio: Recording
    check: str
    expected: str
    language: str = ENGLISH

    @cached_property
    def question(self) -> str:
        """By what the words are known again: all that can change them, and not what they are compared with."""
        return digest.of_value({"speech": self.audio.digest, "language": self.language})


@dataclass(frozen=True, kw_only=True)
class SpeechGate(RuntimeGate):
    """`min_pass` of the cases must be heard rightly."""

    name: ClassVar[str] = "speech"
    about: ClassVar[str] = "Golden recordings and their words. For `task: automatic-speech-recognition` only."
    tasks: ClassVar[tuple[str, ...]] = (SPEECH,)
    slow: ClassVar[bool] = True

    cases: tuple[GoldenRecording, ...]
    min_pass: int

    @property
    def as_judged(self) -> Self:
        return replace(self, cases=tuple(replace(one, audio=one.audio.without_data()) for one in self.cases))

    @property
    def asked(self) -> object:
        return tuple(one.question for one in self.cases)

    def missing(self, numbers: Numbers) -> bool:
        known = {*numbers.measured.answers, *numbers.measured.asked} if numbers.measured else set()
        # guard: gate: a recording that was not heard leaves it open
        return any(one.question not in known for one in self.cases)

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        *_, found = {"answers": held.answers}, *self.steps(candidate, held)
        return found

    def steps(self, candidate: RegisteredCandidate, held: Measured) -> Iterator[dict[str, Any]]:
        """Recording by recording: a model that hears slowly, or dies on one, keeps what it heard before."""
        answers = held.answers
        for question, one in {one.question: one for one in self.cases if one.question not in answers}.items():
            answers = answers | {question: hear(candidate, one.audio.data, one.language).text[:LONGEST_TEXT]}
            yield {"answers": answers}

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        measured = numbers.measured
        if measured is None or self.missing(numbers):
            yield inconclusive(self.name, "passed")
            return
        if any(one.question not in measured.answers for one in self.cases):
            yield inconclusive(self.name, "passed", "only the machine itself knows what it heard")
            return
        wrong = tuple(why for one in self.cases if (why := _miss(one, measured.answers[one.question])))
        right = len(self.cases) - len(wrong)
        message = f"{right} of {len(self.cases)} golden recordings are heard rightly, {self.min_pass} wanted"
        yield of_cases(self.name, right, self.min_pass, message, wrong)

    def shown_fields(self, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
        yield "minPass", f"{self.min_pass} of {len(self.cases)}"
        for case in self.cases:
            yield f"{_quoted(case.name)} ({case.language}, {case.question[7:15]})", wanted_text(case)


def hear(candidate: RegisteredCandidate, audio: bytes, language: str = ENGLISH) -> Transcribed:
    found = candidate.runtime.transcribe(candidate.name, audio, language)
    candidate.alive()
    return found


def wanted_text(case: GoldenRecording) -> str:
    return f"{'exactly' if case.check == 'exact' else 'to contain'} {_quoted(case.expected)}"


def _miss(case: GoldenRecording, heard: str) -> str:
    """What is wrong, on one line; "" where nothing is. White space around a text never counts."""
    found, wanted = heard.strip(), case.expected.strip()
    right = found == wanted if case.check == "exact" else wanted in found  # guard: gate: other words fail
    return "" if right else f"{shown(case.name)}: wanted {wanted_text(case)}, got {_quoted(heard)}"


def _quoted(text: str) -> str:
    return f'"{shown(text.strip(), TEXT_SHOWN)}"'
