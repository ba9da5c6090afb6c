"""What a manifest may say of a model for another task than chat: nothing about conversations, and only gates that can
judge it."""

from dataclasses import dataclass, replace

from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.targets.tasks import CHAT, EMBEDDINGS, SPEECH, TASKS
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.gate_schema import DECLARED
from reconciler.manifests.ready.rules import ORIGINAL
from reconciler.manifests.schema import ModelManifest

_ABOUT_ANSWERS = ("promptTemplate", "generation")


@dataclass(frozen=True, kw_only=True)
class _Task:
    """How messages name a model for it. `build`: how one is made; `golden`: by what it is judged."""

    name: str
    does: str
    build: str = ""
    golden: str


_TASKS = {
    CHAT: _Task(name="a model for chat", does="answers", golden="golden prompts (`prompts`) ask a model for chat"),
    EMBEDDINGS: _Task(
        name="an embedding model",
        does="gives vectors",
        build="build it with onnxruntime-genai's model builder and include_hidden_states=true",
        golden="declare golden texts (`embeddings`)",
    ),
    SPEECH: _Task(
        name="a model that hears",
        does="writes down what is said",
        build="build it with onnxruntime-genai's model builder from a Whisper",
        golden="declare golden recordings (`speech`)",
    ),
}


def check_task(declaration: Declaration[ModelManifest], *, ready: bool) -> None:
    """Reports each field that cannot act. `ready`: the model is ONNX already."""
    task = _TASKS[_task(declaration)]
    if task is _TASKS[CHAT]:
        return
    if not ready and declaration.keys("spec", "source"):
        message = "expected a ready ONNX model or one of the catalog: a conversion gives a model for chat"
        hint = f"{task.build}, and name the folder as `source: {{onnx: {{path: ...}}}}`"
        declaration.report(("spec", "source"), "TaskUnsupported", message, hint)
    if declaration.keys(*ORIGINAL):
        message = f"expected no original: fidelity compares answers, and {task.name} gives none"
        declaration.report(ORIGINAL, "OptionIgnored", message, f"delete the field; {task.golden}")
    for name in _ABOUT_ANSWERS:
        if declaration.keys("spec", name) or declaration.text("spec", name) is not None:
            message = f"expected no {name}: {task.name} {task.does}, and holds no conversation"
            declaration.report(("spec", name), "OptionIgnored", message, "delete the field")


def check_gates_of_task(declaration: Declaration[ModelManifest]) -> None:
    """Reports each gate that cannot judge a model for this task, whatever else is wrong with it or with others."""
    task = _task(declaration)
    if "task" in declaration.keys("spec") and declaration.text("spec", "task") != task:
        return  # it was refused, so nobody knows what the gates are for
    for index in range(len(declaration.texts("spec", "gates"))):
        for name in declaration.keys("spec", "gates", index):
            if name in DECLARED and task not in DECLARED[name].tasks and declaration.says("spec", "gates", index, name):
                message = f"expected a gate for {task}, got {name}"
                declaration.report(("spec", "gates", index, name), "OptionIgnored", message, _TASKS[task].golden)


def gates_of_task(declaration: Declaration[ModelManifest], gates: GateSpec) -> GateSpec:
    """The gates of a model for this task."""
    return replace(gates, task=_task(declaration))


def _task(declaration: Declaration[ModelManifest]) -> str:
    given = declaration.manifest
    written = given.spec.task if given is not None else declaration.text("spec", "task")
    return written if written is not None and written in TASKS else CHAT
