"""Look at a model folder as Hugging Face lays it out, or at a LoRA adapter as PEFT writes it: admit it, or report
everything that is wrong with it, all at once.

Only small files and headers are read; weights are read for their digest, once (the StampBook remembers it). Custom code
(`auto_map`, *.py) is left behind with a warning; pickled weights are refused, because reading them can run code. An
adapter is merged into the weights before the conversion; what PEFT could read from it beyond plain LoRA (modules to
import, methods we never measured) is refused.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import InputRefused, Problem
from reconciler.domain.sources import adapter_config, model_config
from reconciler.domain.sources.generation_config import end_tokens, without_effect
from reconciler.domain.sources.source_model import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    INDEX,
    READING_FILES,
    SMALL_FILES,
    WEIGHTS,
    SourceAdapter,
    SourceModel,
    digest_of,
)
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.guarded_folder import Folder, FolderProblems, read_object
from reconciler.sources.folder.ready_onnx import look_at_onnx
from reconciler.sources.folder.safetensors_header import read_shapes
from reconciler.sources.folder.tokenizer import TOKENIZER, check_tokenizer, doubts, end_of, ends_among, rules_of
from reconciler.sources.folder.tokenizer_settings import TEMPLATE, TOKENIZER_CONFIG, optional_object, own_template

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
GENERATION = "generation_config.json"

# By path, kind and whether files were hashed, with the stamps of all files: a hundred variants of one model look at it
# once. What was not hashed has no digests, and is never taken for what was.
_seen: dict[tuple[str, bool, bool], tuple[object, SourceModel]] = {}


def inspect_source(path: str, stamps: StampBook, *, ready: bool = False) -> SourceModel:
    """Never raises for what the folder holds: see `problems`. `ready`: a ready ONNX folder."""
    key, state = (path, ready, stamps.hashes), _state(path)
    remembered = _seen.get(key)
    if remembered is None or remembered[0] != state:
        remembered = _seen[key] = (state, look_at_source(Folder(path, stamps), ready=ready))
    return remembered[1]


def look_at_source(folder: Folder, *, ready: bool = False) -> SourceModel:
    """The same, of any folder, each time anew."""
    return look_at_onnx(folder) if ready else _Look(folder).inspect()


def look_without_weights(folder: Folder) -> SourceModel:
    """The same where the files with the weights are not here: it has no shapes."""
    return _Look(folder, headers=False).inspect()


@dataclass(frozen=True, kw_only=True)
class FolderParts:
    """What single files of a model folder say, each nothing where a file of it is wrong or not here: `problems` say
    why. `added` are the ids of the tokens that the tokenizer adds."""

    config: dict[str, Any]
    generation: dict[str, Any]
    settings: dict[str, Any]
    weights: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    added: dict[str, int]
    template: str | None
    problems: tuple[Problem, ...]


def parts_without_weights(folder: Folder) -> FolderParts:
    """What can be read of a folder in which more than the weights may not be here."""
    return _Look(folder, headers=False).parts()


def _state(path: str) -> object:
    """Differs when any file of the folder does."""
    try:
        with os.scandir(path) as entries:
            return {entry.name: _stamp(entry) for entry in entries}
    except OSError as error:
        return error.errno


def _stamp(entry: os.DirEntry[str]) -> tuple[int, ...]:
    try:
        status = entry.stat()
    except OSError:  # a link to nowhere
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class _Look:
    def __init__(self, folder: Folder, *, headers: bool = True) -> None:
        self._folder, self._headers = folder, headers
        self._findings = FolderProblems(folder.path)

    def inspect(self) -> SourceModel:
        if refused := self._folder.refusal("SourceMissing"):
            self._findings.note("", refused)
            return self._refused()
        parts = self.parts()
        # Before gigabytes are hashed for nothing.
        files = () if self._findings.problems else self._files(parts.weights)
        if self._findings.problems:
            return self._refused()
        config, generation, settings, added = parts.config, parts.generation, parts.settings, parts.added
        doubtful = [self._findings.problem(TOKENIZER, one) for one in doubts(added, generation, config, settings)]
        return SourceModel(
            path=self._folder.path,
            digest=digest_of({file.path: file.digest for file in files}),
            architecture=model_config.architecture_of(config),
            config=config,
            files=files,
            shapes=parts.shapes,
            weight_bytes=sum(file.size for file in files if file.path in parts.weights),
            context_length=config["max_position_embeddings"],
            chat_template=parts.template,
            tokens=tuple(added),
            ends=ends_among(added, generation, config, settings),
            reading=rules_of(self._folder),
            warnings=(*self._foreign_code(config, settings), *self._ineffective(generation or config), *doubtful),
        )

    def parts(self) -> FolderParts:
        attempt = self._findings.attempt
        config = attempt("config.json", self._config) or {}
        generation = attempt(GENERATION, optional_object, self._folder, GENERATION) or {}
        settings = attempt(TOKENIZER_CONFIG, optional_object, self._folder, TOKENIZER_CONFIG) or {}
        if not self._findings.problems:
            attempt("config.json", _check_end_token, generation, config, settings)
        weights = attempt(WEIGHTS, self._weight_files) or ()
        shapes = self._shapes(weights)
        added = attempt(TOKENIZER, self._tokenizer) or {}
        template = attempt(TEMPLATE, own_template, self._folder, settings)
        return FolderParts(
            config=config,
            generation=generation,
            settings=settings,
            weights=weights,
            shapes=shapes,
            added=added,
            template=template,
            problems=tuple(self._findings.problems),
        )

    def _refused(self) -> SourceModel:
        return SourceModel(path=self._folder.path, problems=tuple(self._findings.problems))

    def _config(self) -> dict[str, Any]:
        if not self._folder.exists("config.json"):
            if self._folder.exists("adapter_config.json"):
                raise InputRefused("AdapterOnly", "missing: this is a LoRA adapter", "name it as spec.source.adapter")
            raise InputRefused("ConfigMissing", "missing", "a model folder is what `save_pretrained` writes")
        config = read_object(self._folder, "config.json")
        found = model_config.complaints(config)
        for complaint in found[1:]:
            self._findings.note("config.json", InputRefused("ConfigInvalid", complaint))
        if found:
            raise InputRefused("ConfigInvalid", found[0])
        return config

    def _weight_files(self) -> tuple[str, ...]:
        """As transformers chooses: the one file, else the shards that the index names."""
        if self._folder.exists(WEIGHTS):
            return (WEIGHTS,)
        if not self._folder.exists(INDEX):
            raise self._no_weights()
        weight_map = self._findings.attempt(INDEX, self._weight_map) or {}
        shards = sorted(set(weight_map.values()))
        for name in shards:
            if not self._folder.exists(name):
                self._findings.note(name, InputRefused("WeightsShardMissing", f"missing, though {INDEX} names it"))
        return tuple(name for name in shards if self._folder.exists(name))

    def _weight_map(self) -> dict[str, str]:
        weight_map = read_object(self._folder, INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise InputRefused("WeightsIndexInvalid", "expected a weight_map")
        for name in weight_map.values():
            if not isinstance(name, str) or not name.endswith(".safetensors") or set(name) & set("/\\:\0"):
                message = f"names {str(name)[:80]!r}, expected *.safetensors in this folder"
                raise InputRefused("WeightsIndexInvalid", message)
        return weight_map

    def _no_weights(self) -> InputRefused:
        names = self._folder.names()
        if "genai_config.json" in names or any(name.endswith(".onnx") for name in names):
            hint = "take it as it is: `source: {onnx: {path: ...}}`; or name the original model"
            return InputRefused("SourceConverted", "missing: this is an ONNX model already", hint)
        if any(name.endswith(".gguf") for name in names):
            return InputRefused("WeightsGguf", "missing: GGUF weights are not converted", "name the original model")
        pickled = [name for name in names if name.endswith(_PICKLED)]
        if pickled:
            hint = "convert to safetensors: `model.save_pretrained(folder)` with transformers, where you trust the file"
            message = f"missing; {pickled[0]} is a pickle, and reading one can run code"
            return InputRefused("WeightsPickled", message, hint)
        return InputRefused("WeightsMissing", "missing")

    def _shapes(self, weights: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for name in weights if self._headers else ():
            shapes |= self._findings.attempt(name, read_shapes, self._folder, name) or {}
        if weights and self._headers and not self._findings.problems:
            if weights != (WEIGHTS,):
                self._findings.attempt(INDEX, self._check_index, shapes)
            if not any(map(prod, shapes.values())):
                self._findings.note(weights[0], InputRefused("WeightsMissing", "holds no numbers"))
        return shapes

    def _check_index(self, shapes: dict[str, tuple[int, ...]]) -> None:
        absent = sorted(self._weight_map().keys() - shapes.keys())
        if absent:
            raise InputRefused("WeightsIndexInvalid", f"names the tensor {absent[0][:80]!r}, which is in no shard")

    def _tokenizer(self) -> dict[str, int]:
        if not self._folder.exists(TOKENIZER):
            hint = "write it with transformers: `AutoTokenizer.from_pretrained(...).save_pretrained(folder)`"
            raise InputRefused("TokenizerMissing", "missing: the converted model would answer nothing", hint)
        return check_tokenizer(self._folder)

    def _files(self, weights: tuple[str, ...]) -> tuple[StoredFile, ...]:
        index = () if WEIGHTS in weights else (INDEX,)
        names = sorted(name for name in (*SMALL_FILES, *index, *weights) if self._folder.exists(name))
        found = [self._findings.attempt(name, self._folder.stored, name) for name in names]
        return tuple(file for file in found if file is not None)

    def _foreign_code(self, config: dict[str, Any], tokenizer: dict[str, Any]) -> Iterator[Problem]:
        message = "its auto_map names custom code, which is never run; the architecture's own code is used"
        for name, value in (("config.json", config), (TOKENIZER_CONFIG, tokenizer)):
            if "auto_map" in value:
                yield self._findings.problem(name, InputRefused("CustomCodeIgnored", message))

    def _ineffective(self, generation: dict[str, Any]) -> Iterator[Problem]:
        for name, why in without_effect(generation):
            message = f"{name} does not act: {why}, so answers may differ from the source's"
            yield self._findings.problem(GENERATION, InputRefused("GenerationIgnored", message))


def _check_end_token(generation: dict[str, Any], config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    if not end_tokens(config["vocab_size"], generation, config) and not tokenizer.get("eos_token"):
        message = "no token ends an answer: there is no eos_token_id here or in generation_config.json"
        raise InputRefused("EndTokenMissing", message, "add the eos_token_id that the model was trained with")


def inspect_adapter(path: str, stamps: StampBook) -> SourceAdapter:
    """Never raises for what the folder holds: see `problems`."""
    return look_at_adapter(Folder(path, stamps))


def look_at_adapter(folder: Folder) -> SourceAdapter:
    findings, config, shapes = FolderProblems(folder.path), None, None
    settings, template, added = None, None, None
    if refused := folder.refusal("AdapterMissing"):
        findings.note("", refused)
    else:
        config = findings.attempt(ADAPTER_CONFIG, _adapter_config, folder)
        shapes = findings.attempt(ADAPTER_WEIGHTS, _adapter_shapes, folder)
        settings = findings.attempt(TOKENIZER_CONFIG, optional_object, folder, TOKENIZER_CONFIG)
        template = findings.attempt(TEMPLATE, own_template, folder, settings or {})
        added = findings.attempt(TOKENIZER, lambda: check_tokenizer(folder) if folder.exists(TOKENIZER) else {})
    if config is None or shapes is None or findings.problems:
        return SourceAdapter(path=folder.path, problems=tuple(findings.problems))
    reads = folder.exists(TOKENIZER)  # also one without a single token added
    files, tokenizer = (
        tuple(map(folder.stored, names))
        for names in ((ADAPTER_CONFIG, ADAPTER_WEIGHTS), filter(folder.exists, READING_FILES if reads else ()))
    )
    digest = digest_of({file.path: file.digest for file in files})
    return SourceAdapter(
        path=folder.path,
        digest=digest,
        config=config,
        files=files,
        shapes=shapes,
        weight_bytes=files[1].size,
        chat_template=template,
        tokenizer=tokenizer,
        tokens=tuple(added or ()),
        ids=tuple((added or {}).values()),
        eos_token=end_of(settings or {}) if reads else "",
        reading=rules_of(folder) if reads else {},
    )


def _adapter_config(folder: Folder) -> dict[str, Any]:
    if not folder.exists(ADAPTER_CONFIG):
        raise InputRefused("AdapterInvalid", "missing", "an adapter is what PEFT's `save_pretrained` writes")
    config = read_object(folder, ADAPTER_CONFIG)
    if found := adapter_config.complaints(config):
        beyond = any(one.endswith(adapter_config.BEYOND) for one in found)
        hint = "merge it with PEFT (`merge_and_unload`, then `save_pretrained`) and name the result as source"
        raise InputRefused("AdapterUnsupported", "; ".join(found), hint if beyond else "")
    return config


def _adapter_shapes(folder: Folder) -> dict[str, tuple[int, ...]]:
    if not folder.exists(ADAPTER_WEIGHTS):
        hint = "save it again with PEFT, which writes safetensors" if folder.exists("adapter_model.bin") else ""
        raise InputRefused("AdapterInvalid", "missing", hint)
    return read_shapes(folder, ADAPTER_WEIGHTS)
