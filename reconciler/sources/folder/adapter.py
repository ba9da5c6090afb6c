"""Look at a LoRA adapter as PEFT writes it. It is merged into the weights before the conversion; what PEFT could read
from it beyond plain LoRA (modules to import, methods we never measured) is refused."""

from typing import Any

from reconciler.domain.digest import StoredFile
from reconciler.domain.sources.source_model import ADAPTER_CONFIG, ADAPTER_WEIGHTS, SourceAdapter, digest_of
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.guarded_folder import DENIED_HINT, FileRefused, Folder, read_object
from reconciler.sources.folder.problems import FolderProblems
from reconciler.sources.folder.safetensors_header import read_shapes

# Plain LoRA, or without effect on a merge. Every other setting must be off.
_HARMLESS = frozenset(
    {
        "alpha_pattern",
        "base_model_name_or_path",
        "fan_in_fan_out",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "megatron_core",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "target_modules",
        "task_type",
        "use_rslora",
    }
)
_OFF: tuple[object, ...] = (None, False, "none", [], {})


def inspect_adapter(path: str, stamps: StampBook) -> SourceAdapter:
    """Never raises for what the folder holds: see `problems`."""
    return look_at_adapter(Folder(path, stamps))


def look_at_adapter(folder: Folder) -> SourceAdapter:
    path = folder.path
    findings = FolderProblems(path)
    if closed := folder.why_closed():
        findings.note("", FileRefused("SourceUnreadable", closed, DENIED_HINT))
        return SourceAdapter(path=path, problems=tuple(findings.problems))
    if not folder.is_there():
        findings.note("", FileRefused("AdapterMissing", "no such folder"))
        return SourceAdapter(path=path, problems=tuple(findings.problems))
    config = findings.attempt(ADAPTER_CONFIG, _config, folder) or {}
    findings.attempt(ADAPTER_WEIGHTS, _check_weights, folder)
    if findings.problems:
        return SourceAdapter(path=path, problems=tuple(findings.problems))
    files = tuple(_stored(folder, name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS))
    return SourceAdapter(
        path=path,
        digest=digest_of({file.path: file.digest for file in files}),
        config=config,
        files=files,
        weight_bytes=files[1].size,
    )


def _config(folder: Folder) -> dict[str, Any]:
    if not folder.exists(ADAPTER_CONFIG):
        raise FileRefused("AdapterInvalid", "missing", "an adapter is what PEFT's `save_pretrained` writes")
    config = read_object(folder, ADAPTER_CONFIG)
    if config.get("peft_type") != "LORA":
        raise FileRefused("AdapterUnsupported", f"peft_type {str(config.get('peft_type'))[:80]!r}, expected 'LORA'")
    if config.get("task_type") != "CAUSAL_LM":
        raise FileRefused(
            "AdapterUnsupported", f"task_type {str(config.get('task_type'))[:80]!r}, expected 'CAUSAL_LM'"
        )
    for name, value in config.items():
        if name not in _HARMLESS and value not in _OFF:
            raise FileRefused("AdapterUnsupported", f"{name[:80]} is set: only plain LoRA is merged")
    return config


def _check_weights(folder: Folder) -> None:
    if not folder.exists(ADAPTER_WEIGHTS):
        pickled = folder.exists("adapter_model.bin")
        hint = "save it again with PEFT, which writes safetensors" if pickled else ""
        raise FileRefused("AdapterInvalid", "missing", hint)
    read_shapes(folder, ADAPTER_WEIGHTS)


def _stored(folder: Folder, name: str) -> StoredFile:
    return StoredFile(path=name, digest=folder.digest(name), size=folder.size(name))
