"""What a manifest may say of a ready ONNX model, which is served as it is: nothing that only a conversion could do, and
nothing that only its original could prove."""

from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.targets.tasks import CHAT
from reconciler.gates.embeddings import EmbeddingsGate
from reconciler.gates.fidelity import FidelityGate
from reconciler.gates.prompts import PromptsGate
from reconciler.gates.speech import SpeechGate
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.loader import Path
from reconciler.manifests.precisions.rules import FIELD, precisions_named
from reconciler.manifests.schema import AUTO, ModelManifest

ORIGINAL: Path = ("spec", "source", "original")
NO_ORIGINAL = "a ready ONNX model is served as it is, and there is no original to compare it with"
UNPROVEN = (
    "nothing shows that this ready ONNX model answers rightly: it is not compared with an original, "
    "and there are no golden prompts, texts or recordings"
)


def check_ready(declaration: Declaration[ModelManifest]) -> None:
    """Reports each field that cannot act."""
    for path in (("spec", "quantization"), ("spec", "source", "adapter")):
        if declaration.keys(*path) or declaration.text(*path) is not None:
            message = f"expected no {path[-1]}: a ready ONNX model is served as it is"
            hint = "delete the field, or name the original model as source: it is converted then"
            declaration.report(path, "OptionIgnored", message, hint)
    precisions = precisions_named(declaration)
    if declaration.text(*FIELD) == AUTO or declaration.keys(*FIELD):
        message = "expected one precision, which only says what the model is, got auto"
        declaration.report(FIELD, "OptionIgnored", message, "a ready ONNX model is one precision: name it")
    elif len(precisions) > 1:
        message = f"expected one precision, which only says what the model is, got {len(precisions)}"
        hint = "write a Model of its own for each ready ONNX folder"
        declaration.report(("spec", "precisions"), "OptionIgnored", message, hint)


def refuse_original(declaration: Declaration[ModelManifest]) -> None:
    """Of a model that is converted: its source is its original."""
    if declaration.keys(*ORIGINAL):
        message = "expected no original: what is converted is compared with its source"
        declaration.report(ORIGINAL, "OptionIgnored", message, "delete the field")


def check_bars(declaration: Declaration[ModelManifest], gates: GateSpec | None) -> None:
    """Reports bars of a comparison that cannot be made. `gates`: None where one of them is wrong, which hides nothing
    of the others."""
    if not declaration.keys(*ORIGINAL) and (_has_bars(gates) if gates is not None else _writes_bars(declaration)):
        message = f"expected no bars of fidelity: {NO_ORIGINAL}"
        hint = "name it (source: {original: ...}), or declare golden prompts instead"
        declaration.report(("spec", "gates"), "OptionIgnored", message, hint)


def _has_bars(gates: GateSpec) -> bool:
    fidelity = gates.get(FidelityGate) or FidelityGate()
    return not fidelity.skip and fidelity != FidelityGate()


def _writes_bars(declaration: Declaration[ModelManifest]) -> bool:
    places = [("spec", "gates", index, FidelityGate.name) for index in range(len(declaration.texts("spec", "gates")))]
    written = [{*declaration.keys(*place)} for place in places]
    return any(fields and "skip" not in fields for fields in written)


def gates_of_ready(declaration: Declaration[ModelManifest], gates: GateSpec) -> GateSpec:
    """Without the comparison that cannot be made, where no original is named; a warning where then nothing else is
    asked."""
    if declaration.keys(*ORIGINAL):
        return gates
    fidelity = gates.get(FidelityGate) or FidelityGate()
    if not any(isinstance(one, PromptsGate | EmbeddingsGate | SpeechGate) for one in gates.gates):
        hint = (
            "declare golden prompts, or golden texts or recordings of a model for another task: docs/manifests/gates.md"
        )
        kind = next(iter(declaration.keys("spec", "source")))
        declaration.report(("spec", "source", kind), "ReadyUnproven", UNPROVEN, hint, serious=False)
    return gates if fidelity.skip or gates.task != CHAT else gates.with_gate(FidelityGate(skip=NO_ORIGINAL))
