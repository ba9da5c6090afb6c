"""What a ready model that hears (Whisper) has beside its graphs: how sound becomes what its encoder takes, and the
tokens by which it is asked.

The runtime builds what `audio_processor_config.json` lists, step by step, so only the steps that onnxruntime-genai's
model builder writes for Whisper pass, with numbers for what they are told.
"""

from reconciler.domain.errors import InputRefused
from reconciler.domain.sources.source_model import AUDIO_PROCESSOR
from reconciler.domain.text.quoting import shown
from reconciler.sources.folder.guarded_folder import Folder, read_object

STEPS = {
    "AudioDecoder": frozenset[str](),
    "STFTNorm": frozenset({"n_fft", "frame_length", "hop_length", "_comment"}),
    "LogMelSpectrum": frozenset({"chunk_size", "hop_length", "n_fft", "n_mel"}),
}
MOST_STEPS = 8
# By which Foundry Local asks, whatever the language: without them they are read as letters, in silence.
ASKED_BY = ("<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>")
_BUILD = "onnxruntime-genai's model builder writes it for a Whisper"


def check_audio_processor(folder: Folder) -> str:
    """Its name. Raises InputRefused for what is none of a Whisper's."""
    if not folder.exists(AUDIO_PROCESSOR):
        raise InputRefused("AudioProcessorRefused", "missing: the model would hear nothing", _BUILD)
    found = read_object(folder, AUDIO_PROCESSOR)
    outer = found.get("feature_extraction")
    steps = outer.get("sequence") if isinstance(outer, dict) and outer.keys() == {"sequence"} else None
    if found.keys() != {"feature_extraction"} or steps is None:
        raise _refused("expected `feature_extraction` with a `sequence`, and nothing else")
    if not (isinstance(steps, list) and 0 < len(steps) <= MOST_STEPS):
        raise _refused(f"feature_extraction.sequence: expected 1 to {MOST_STEPS} steps")
    for step in steps:
        _check_step(step)
    return AUDIO_PROCESSOR


def check_asked_by(added: dict[str, int]) -> None:
    """Raises InputRefused where its tokenizer lacks a token that it is asked by."""
    if lacking := [one for one in ASKED_BY if one not in added]:
        hint = "copy tokenizer.json from the original model: Whisper's has them among its added tokens"
        raise InputRefused(
            "SpeechTokenMissing", f"expected {lacking[0]} among the added tokens: it is asked by it", hint
        )


def _check_step(step: object) -> None:
    operation = step.get("operation") if isinstance(step, dict) and step.keys() == {"operation"} else None
    if not isinstance(operation, dict) or not operation.keys() <= {"name", "type", "attrs"}:
        raise _refused("expected each step to be an `operation` with name, type and attrs")
    kind, attributes = operation.get("type"), operation.get("attrs", {})
    if not isinstance(kind, str) or kind not in STEPS:  # guard: a step that the runtime takes is one of Whisper's
        raise _refused(f"{shown(str(kind))} is not a step of a Whisper ({', '.join(STEPS)})")
    if not isinstance(attributes, dict) or not attributes.keys() <= STEPS[kind]:
        raise _refused(f"{kind}: expected no other attributes than {', '.join(sorted(STEPS[kind])) or 'none'}")
    if not all(_are_numbers(value) for value in attributes.values()):
        raise _refused(f"{kind}: expected numbers")


def _are_numbers(value: object) -> bool:
    return all(type(one) in (int, float) for one in value) if isinstance(value, list) else type(value) is int


def _refused(message: str) -> InputRefused:
    return InputRefused("AudioProcessorRefused", message, _BUILD)
