"""From declared gates to a GateSpec: each gate once, golden prompts read from their file, bars that can be met."""

import json
from collections.abc import Sequence
from typing import Any

from reconciler.domain import digest
from reconciler.domain.errors import Problem
from reconciler.domain.gate_spec import Gate, GateSpec
from reconciler.domain.text.quoting import shown
from reconciler.gates.embeddings import EmbeddingsGate, GoldenText
from reconciler.gates.prompts import CHECKS, GoldenPrompt, PromptsGate
from reconciler.gates.recording import refused_recording
from reconciler.gates.speech import HEARD, GoldenRecording, SpeechGate
from reconciler.manifests.declaration import Declaration, ProblemLog
from reconciler.manifests.described import value_of
from reconciler.manifests.gate_schema import (
    DECLARED,
    MOST_CASES,
    EmbeddingsManifest,
    GoldenCase,
    GoldenRecordingManifest,
    GoldenTextManifest,
    PromptsManifest,
    SpeechManifest,
)
from reconciler.manifests.loader import Path, YamlDocument
from reconciler.manifests.problems import MAX_PROBLEMS, accepted
from reconciler.manifests.schema import ModelManifest

GATES = ("spec", "gates")
_RECORDING_HINT = "it may have 256 KiB, as every file beside manifests: 8 s of 16 kHz, one channel of 16 bits"
_CONVERT_HINT = "ffmpeg -i RECORDING -ac 1 -ar 16000 -c:a pcm_s16le FILE.wav"
_FILE_HINT = f"it may have 256 KiB, as every file beside manifests, and {MOST_CASES} golden prompts"


def gates_of(declaration: Declaration[ModelManifest]) -> GateSpec | None:
    """None when something is wrong with them, which is then reported. Files are judged also where the document has been
    refused for something else."""
    before = len(declaration.log.problems)
    _check_kinds(declaration)
    cases, recordings = _cases_of_files(declaration), _recordings(declaration)
    written = declaration.manifest.spec.gates if declaration.manifest else None
    made: list[Gate] = []
    if len(declaration.log.problems) == before:
        made = [_gate(item, cases.get(index), recordings.get(index, ())) for index, item in enumerate(written or ())]
    for index, gate in enumerate(made):
        # A bar that can never be met would hold every release back without a reason.
        if isinstance(gate, PromptsGate | EmbeddingsGate | SpeechGate) and gate.min_pass > len(gate.cases):
            golden = {PromptsGate: "prompts", EmbeddingsGate: "texts", SpeechGate: "recordings"}[type(gate)]
            message = f"expected at most {len(gate.cases)}, the number of golden {golden}, got {gate.min_pass}"
            declaration.report((*GATES, index, gate.name, "minPass"), "GateUnreachable", message)
    return GateSpec.of(*made) if len(declaration.log.problems) == before else None


def _check_kinds(declaration: Declaration[ModelManifest]) -> None:
    seen: set[str] = set()
    for index in range(len(declaration.texts(*GATES))):
        for kind in declaration.keys(*GATES, index):
            if kind in seen:
                message = f"expected each gate once, got {shown(kind)} again"
                declaration.report((*GATES, index, kind), "InvalidValue", message)
            seen.add(kind)


def _gate(item: Any, from_file: tuple[GoldenPrompt, ...] | None, recordings: Sequence[bytes]) -> Gate:
    name = next(name for name in DECLARED if getattr(item, name) is not None)
    written = getattr(item, name)
    if isinstance(written, EmbeddingsManifest):
        texts = tuple(map(_golden_text, written.cases))
        return EmbeddingsGate(cases=texts, min_pass=written.min_pass or len(texts), dimensions=written.dimensions)
    if isinstance(written, SpeechManifest):
        heard = tuple(map(_golden_recording, written.cases, recordings))
        return SpeechGate(cases=heard, min_pass=written.min_pass or len(heard))
    if not isinstance(written, PromptsManifest):
        return value_of(DECLARED[name], written)
    cases = tuple(map(_golden, written.cases)) if written.cases is not None else from_file or ()
    least = written.min_pass or len(cases)
    return PromptsGate(cases=cases, min_pass=least, max_tokens=written.max_tokens, greedy=written.greedy)


def _golden_text(case: GoldenTextManifest) -> GoldenText:
    if case.nearest is None:
        return GoldenText(text=case.text, near=case.similar_to or "", at_least=case.at_least or 0.0)
    among = tuple(dict.fromkeys((case.nearest, *(case.among or ()))))
    return GoldenText(text=case.text, near=case.nearest, among=among)


def _golden_recording(case: GoldenRecordingManifest, audio: bytes) -> GoldenRecording:
    check = next(name for name in HEARD if getattr(case, name) is not None)
    expected = getattr(case, check)
    return GoldenRecording(name=case.audio, audio=audio, check=check, expected=expected, language=case.language)


def _golden(case: GoldenCase) -> GoldenPrompt:
    asked = [("user", case.prompt or "")]
    if case.messages is not None:
        asked = [(message.role, message.content) for message in case.messages]
    if case.json_schema is not None:
        schema = digest.canonical(case.json_schema).decode()
        return GoldenPrompt(messages=tuple(asked), check="jsonSchema", expected=schema)
    check = next(name for name in CHECKS if getattr(case, name, None) is not None)
    return GoldenPrompt(messages=tuple(asked), check=check, expected=getattr(case, check))


def _recordings(declaration: Declaration[ModelManifest]) -> dict[int, tuple[bytes, ...]]:
    """Of each case of the gate, by the gate's place in the list. One that cannot be heard is reported."""
    found = {}
    for index in range(len(declaration.texts(*GATES))):
        places = [
            (*GATES, index, "speech", "cases", at, "audio")
            for at in range(len(declaration.texts(*GATES, index, "speech", "cases")))
        ]
        found[index] = tuple(audio for place in places if (audio := _recording(declaration, place)) is not None)
    return found


def _recording(declaration: Declaration[ModelManifest], place: Path) -> bytes | None:
    if (read := declaration.read(place, _RECORDING_HINT)) is None:
        return None
    if why := refused_recording(read[0]):
        declaration.report(place, "RecordingRefused", f"expected {why}", _CONVERT_HINT)
    return read[0]


def _cases_of_files(declaration: Declaration[ModelManifest]) -> dict[int, tuple[GoldenPrompt, ...]]:
    """By the place of the gate in the list."""
    found = {}
    for index in range(len(declaration.texts(*GATES))):
        if (file := declaration.read((*GATES, index, "prompts", "file"), _FILE_HINT)) is not None:
            found[index] = _cases(*file, declaration.log)
    return found


def _cases(data: bytes, file: str, log: ProblemLog) -> tuple[GoldenPrompt, ...]:
    cases: list[GoldenPrompt] = []
    before = len(log.problems)
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip() and len(log.problems) - before < MAX_PROBLEMS and (case := _case(line, number, file, log)):
            cases.append(_golden(case))
    if not 1 <= len(cases) <= MOST_CASES and len(log.problems) == before:
        message = f"expected 1 to {MOST_CASES} golden prompts, one a line, got {len(cases)}"
        log.add(Problem(code="GoldenPrompts", file=file, message=message))
    return tuple(cases)


def _case(line: bytes, number: int, file: str, log: ProblemLog) -> GoldenCase | None:
    try:
        data = json.loads(line)
        digest.canonical(data)  # refuses NaN, endless numbers and half surrogate pairs: no record could hold them
    except (ValueError, RecursionError):
        message = "expected one JSON object a line, got something else"
        log.add(Problem(code="GoldenPrompts", file=file, line=number, message=message))
        return None
    document = YamlDocument(data=data, lines={(): number}, first_line=number, last_line=number, problems=())
    case = accepted(document, file, GoldenCase)
    if isinstance(case, GoldenCase):
        return case
    for problem in case:
        log.add(problem)
    return None
