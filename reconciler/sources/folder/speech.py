"""What a ready model that hears (Whisper) has beside its graphs: how sound becomes what its encoder takes, and the
tokens by which it is asked.

The runtime builds what `audio_processor_config.json` lists, step by step, and computes with the numbers that stand
there: other numbers, or none, end its process or take its memory (tried). So it must list the steps that
onnxruntime-genai's model builder writes for Whisper, in this order and with these numbers.
"""

from collections.abc import Mapping
from typing import Any

from reconciler.domain.errors import InputRefused
from reconciler.domain.sources.source_model import AUDIO_PROCESSOR
from reconciler.domain.text.quoting import shown
from reconciler.sources.folder.guarded_folder import Folder, read_object

STEPS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "AudioDecoder": {},
    "STFTNorm": {"n_fft": (400,), "frame_length": (400,), "hop_length": (160,)},
    "LogMelSpectrum": {"chunk_size": (30,), "hop_length": (160,), "n_fft": (400,), "n_mel": (80, 128)},
}
_NOTE, _LONGEST_NOTE = "_comment", 400  # the window, which the runtime makes itself
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
    if not (isinstance(steps, list) and len(steps) == len(STEPS)):
        raise _refused(f"feature_extraction.sequence: expected the steps {', '.join(STEPS)}")
    for step, (kind, numbers) in zip(steps, STEPS.items(), strict=True):
        _check_step(step, kind, numbers)
    return AUDIO_PROCESSOR


def check_asked_by(added: dict[str, int]) -> None:
    """Raises InputRefused where its tokenizer lacks a token that it is asked by."""
    if lacking := [one for one in ASKED_BY if one not in added]:
        hint = "copy tokenizer.json from the original model: Whisper's has them among its added tokens"
        raise InputRefused(
            "SpeechTokenMissing", f"expected {lacking[0]} among the added tokens: it is asked by it", hint
        )


def _check_step(step: object, kind: str, numbers: Mapping[str, tuple[int, ...]]) -> None:
    operation = step.get("operation") if isinstance(step, dict) and step.keys() == {"operation"} else None
    if not isinstance(operation, dict) or not operation.keys() <= {"name", "type", "attrs"}:
        raise _refused("expected each step to be an `operation` with name, type and attrs")
    if operation.get("type") != kind:  # guard: a step that the runtime takes is one of Whisper's
        found = shown(str(operation.get("type")))
        raise _refused(f"expected the steps {', '.join(STEPS)}, in this order, got {found} in the place of {kind}")
    attributes = operation.get("attrs", {})
    if not isinstance(attributes, dict) or not numbers.keys() <= attributes.keys() <= {*numbers, _NOTE}:
        raise _refused(f"{kind}: expected the attributes {', '.join(numbers) or 'none'}, and no other ones")
    if not isinstance(operation.get("name", ""), str) or not _is_a_note(attributes.get(_NOTE, [])):
        raise _refused(f"{kind}: expected a word for its name, and {_LONGEST_NOTE} numbers from 0 to 1 as {_NOTE}")
    for name, allowed in numbers.items():
        _check_number(f"{kind}: {name}", attributes[name], allowed)


def _check_number(place: str, found: Any, allowed: tuple[int, ...]) -> None:
    # guard: the runtime computes with a Whisper's numbers only
    if type(found) is not int or found not in allowed:
        raise _refused(f"{place}: expected {' or '.join(map(str, allowed))}, got {shown(str(found))}")


def _is_a_note(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _LONGEST_NOTE
        and all(type(one) in (int, float) and 0 <= one <= 1 for one in value)
    )


def _refused(message: str) -> InputRefused:
    return InputRefused("AudioProcessorRefused", message, _BUILD)
