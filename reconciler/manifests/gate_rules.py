"""From declared gates to a GateSpec: each gate once, golden prompts read from their file, bars that can be met."""

from collections.abc import Sequence
from typing import Any

from reconciler.domain.gate_spec import Gate, GateSpec
from reconciler.domain.text.quoting import shown
from reconciler.gates.embeddings import EmbeddingsGate, GoldenText
from reconciler.gates.prompts import GoldenPrompt, PromptsGate
from reconciler.gates.recording import Recording
from reconciler.gates.speech import HEARD, GoldenRecording, SpeechGate
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.described import value_of
from reconciler.manifests.gate_schema import (
    DECLARED,
    EmbeddingsManifest,
    GoldenRecordingManifest,
    GoldenTextManifest,
    PromptsManifest,
    SpeechManifest,
)
from reconciler.manifests.golden.files import GoldenFiles, golden_prompt
from reconciler.manifests.schema import ModelManifest

GATES = ("spec", "gates")


def gates_of(declaration: Declaration[ModelManifest], golden: GoldenFiles) -> GateSpec | None:
    """None when something is wrong with them, which is then reported. Files are judged also where the document has been
    refused for something else."""
    before = len(declaration.log.problems)
    _check_kinds(declaration)
    prompts, recordings = _prompts(declaration, golden), _recordings(declaration, golden)
    if None in prompts.values():  # another model may have named the file before: then nothing new was reported
        return None
    written = declaration.manifest.spec.gates if declaration.manifest else None
    made: list[Gate] = []
    if len(declaration.log.problems) == before:
        made = [_gate(item, prompts.get(index), recordings.get(index, ())) for index, item in enumerate(written or ())]
    for index, gate in enumerate(made):
        # A bar that can never be met would hold every release back without a reason.
        if isinstance(gate, PromptsGate | EmbeddingsGate | SpeechGate) and gate.min_pass > len(gate.cases):
            what = {PromptsGate: "prompts", EmbeddingsGate: "texts", SpeechGate: "recordings"}[type(gate)]
            message = f"expected at most {len(gate.cases)}, the number of golden {what}, got {gate.min_pass}"
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


def _gate(item: Any, from_file: tuple[GoldenPrompt, ...] | None, recordings: Sequence[Recording]) -> Gate:
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
    cases = tuple(map(golden_prompt, written.cases)) if written.cases is not None else from_file or ()
    least = written.min_pass or len(cases)
    return PromptsGate(cases=cases, min_pass=least, max_tokens=written.max_tokens, greedy=written.greedy)


def _golden_text(case: GoldenTextManifest) -> GoldenText:
    if case.nearest is None:
        return GoldenText(text=case.text, near=case.similar_to or "", at_least=case.at_least or 0.0)
    among = tuple(dict.fromkeys((case.nearest, *(case.among or ()))))
    return GoldenText(text=case.text, near=case.nearest, among=among)


def _golden_recording(case: GoldenRecordingManifest, audio: Recording) -> GoldenRecording:
    check = next(name for name in HEARD if getattr(case, name) is not None)
    expected = getattr(case, check)
    return GoldenRecording(name=case.audio, audio=audio, check=check, expected=expected, language=case.language)


def _recordings(declaration: Declaration[ModelManifest], golden: GoldenFiles) -> dict[int, list[Recording]]:
    """Of each case of the gate, by the gate's place in the list; those that can be heard."""
    found = {}
    for index in range(len(declaration.texts(*GATES))):
        cases = (*GATES, index, "speech", "cases")
        places = [(*cases, at, "audio") for at in range(len(declaration.texts(*cases)))]
        found[index] = [one for place in places if (one := golden.recording(declaration, place)) is not None]
    return found


def _prompts(
    declaration: Declaration[ModelManifest], golden: GoldenFiles
) -> dict[int, tuple[GoldenPrompt, ...] | None]:
    """By the place of the gate in the list; None where something is wrong with its file."""
    places = {index: (*GATES, index, "prompts", "file") for index in range(len(declaration.texts(*GATES)))}
    named = {index: place for index, place in places.items() if declaration.text(*place) is not None}
    return {index: golden.prompts(declaration, place) for index, place in named.items()}
