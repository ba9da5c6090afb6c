"""What a manifest may say of a model for another task than chat: nothing about conversations, and only gates that can
judge it."""

from dataclasses import replace

from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.targets import CHAT, EMBEDDINGS
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.ready.rules import ORIGINAL
from reconciler.manifests.schema import ModelManifest

_ABOUT_ANSWERS = ("promptTemplate", "generation")
_BUILD = (
    "build it with onnxruntime-genai's model builder and include_hidden_states=true, and name the folder as "
    "`source: {onnx: {path: ...}}`"
)
_GATES = {CHAT: "golden prompts (`prompts`) ask a model for chat", EMBEDDINGS: "declare golden texts (`embeddings`)"}


def check_task(declaration: Declaration[ModelManifest], *, ready: bool) -> None:
    """Reports each field that cannot act. `ready`: the model is ONNX already."""
    if _task(declaration) == CHAT:
        return
    if not ready and declaration.keys("spec", "source"):
        message = "expected a ready ONNX model or one of the catalog: a conversion gives a model for chat"
        declaration.report(("spec", "source"), "TaskUnsupported", message, _BUILD)
    if declaration.keys(*ORIGINAL):
        message = "expected no original: fidelity compares answers, and an embedding model gives none"
        declaration.report(ORIGINAL, "OptionIgnored", message, "delete the field; declare golden texts (`embeddings`)")
    for name in _ABOUT_ANSWERS:
        if declaration.keys("spec", name) or declaration.text("spec", name) is not None:
            message = f"expected no {name}: an embedding model holds no conversation and gives no answers"
            declaration.report(("spec", name), "OptionIgnored", message, "delete the field")


def gates_of_task(declaration: Declaration[ModelManifest], gates: GateSpec) -> GateSpec:
    """The gates of a model for this task. One that is declared and cannot judge it is reported."""
    task = _task(declaration)
    for index in range(len(declaration.texts("spec", "gates"))):
        for name in declaration.keys("spec", "gates", index):
            unfit = any(one.name == name and task not in one.tasks for one in gates.gates)
            if unfit:
                message = f"expected a gate for {task}, got {name}"
                declaration.report(("spec", "gates", index, name), "OptionIgnored", message, _GATES[task])
    return replace(gates, task=task)


def _task(declaration: Declaration[ModelManifest]) -> str:
    given = declaration.manifest
    written = given.spec.task if given is not None else declaration.text("spec", "task")
    return written if written == EMBEDDINGS else CHAT
