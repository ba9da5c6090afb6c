"""Look at a LoRA adapter as PEFT writes it. It is merged into the weights before the conversion; what PEFT could read
from it beyond plain LoRA (modules to import, methods we never measured) is refused."""

from typing import Any

from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import InputRefused
from reconciler.domain.sources.source_model import ADAPTER_CONFIG, ADAPTER_WEIGHTS, SourceAdapter, digest_of
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.guarded_folder import Folder, FolderProblems, read_object
from reconciler.sources.folder.safetensors_header import read_shapes

# Plain LoRA, or without effect on a merge. Every other setting must be off.
_HARMLESS = {
    *("alpha_pattern", "base_model_name_or_path", "fan_in_fan_out", "inference_mode", "init_lora_weights"),
    *("layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "peft_type"),
    *("peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "target_modules", "task_type"),
    "use_rslora",
}
_OFF: tuple[object, ...] = (None, False, "none", [], {})


def inspect_adapter(path: str, stamps: StampBook) -> SourceAdapter:
    """Never raises for what the folder holds: see `problems`."""
    return look_at_adapter(Folder(path, stamps))


def look_at_adapter(folder: Folder) -> SourceAdapter:
    findings, config = FolderProblems(folder.path), None
    if refused := folder.refusal("AdapterMissing"):
        findings.note("", refused)
    else:
        config = findings.attempt(ADAPTER_CONFIG, _config, folder)
        findings.attempt(ADAPTER_WEIGHTS, _check_weights, folder)
    if config is None or findings.problems:
        return SourceAdapter(path=folder.path, problems=tuple(findings.problems))
    names = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
    files = tuple(StoredFile(path=name, digest=folder.digest(name), size=folder.size(name)) for name in names)
    digest = digest_of({file.path: file.digest for file in files})
    return SourceAdapter(path=folder.path, digest=digest, config=config, files=files, weight_bytes=files[1].size)


def _config(folder: Folder) -> dict[str, Any]:
    if not folder.exists(ADAPTER_CONFIG):
        raise InputRefused("AdapterInvalid", "missing", "an adapter is what PEFT's `save_pretrained` writes")
    config = read_object(folder, ADAPTER_CONFIG)
    for name, expected in (("peft_type", "LORA"), ("task_type", "CAUSAL_LM")):
        if config.get(name) != expected:
            message = f"{name} {str(config.get(name))[:80]!r}, expected {expected!r}"
            raise InputRefused("AdapterUnsupported", message)
    for name, value in config.items():
        if name not in _HARMLESS and value not in _OFF:
            raise InputRefused("AdapterUnsupported", f"{name[:80]} is set: only plain LoRA is merged")
    return config


def _check_weights(folder: Folder) -> None:
    if not folder.exists(ADAPTER_WEIGHTS):
        hint = "save it again with PEFT, which writes safetensors" if folder.exists("adapter_model.bin") else ""
        raise InputRefused("AdapterInvalid", "missing", hint)
    read_shapes(folder, ADAPTER_WEIGHTS)
