"""Look at a ready ONNX folder, as Olive, onnxruntime-genai's model builder and Microsoft's repositories lay it out:
admit it as it is, or report everything that is wrong with it, all at once.

What counts are the files that `genai_config.json` and the graph itself name, and the tokenizer's. Everything else stays
behind, and what could matter of it is named. Only small files and the graph are read; weights are read for their
digest, once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reconciler.backends.foundry import genai_config
from reconciler.domain.errors import InputRefused, PermanentError, Problem
from reconciler.domain.layout import is_of_file_manager
from reconciler.domain.sources.generation_config import end_tokens
from reconciler.domain.sources.locked import is_safe
from reconciler.domain.sources.model_config import LARGEST_COUNT, SHORTEST_CONTEXT
from reconciler.domain.sources.source_model import (
    AUDIO_PROCESSOR,
    GENAI_CONFIG,
    ONNX_DATA,
    ONNX_GRAPH,
    TOKENIZER_FILES,
    WEIGHTS,
    SourceModel,
    digest_of,
)
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER, device_of, provider_of, stages_of
from reconciler.domain.text.quoting import few, listed, shown
from reconciler.sources.folder.compiled import check_whole, compiled_files
from reconciler.sources.folder.guarded_folder import Folder, FolderProblems, read_object
from reconciler.sources.folder.onnx_graph import ExternalData, GraphFacts, external_data
from reconciler.sources.folder.speech import check_asked_by, check_audio_processor
from reconciler.sources.folder.tokenizer import TOKENIZER, check_tokenizer, doubts, ends_among
from reconciler.sources.folder.tokenizer_settings import TEMPLATE, TOKENIZER_CONFIG, optional_object, own_template

# Notes of those who made or keep the folder: they decide nothing of what is served.
_NOTES = ("README.md", "LICENSE", "NOTICE", "config.json", "generation_config.json", "model_config.json", "model.sig")
MOST_NAMED = 5
_CONFIG_HINT = "the runtime obeys this file, so only known keys pass; take the other out, if the model works without it"


def look_at_onnx(folder: Folder) -> SourceModel:
    """Never raises for what the folder holds: see `problems`."""
    return _OnnxLook(folder).inspect()


@dataclass(frozen=True, kw_only=True)
class OnnxParts:
    """What single files of a ready folder say, each nothing where a file of it is wrong or not here: `problems` say
    why. `weights` are the graphs and what they name; `names` are all files of the model."""

    config: dict[str, Any]
    weights: frozenset[str]
    names: frozenset[str]
    settings: dict[str, Any]
    added: dict[str, int]
    template: str | None
    problems: tuple[Problem, ...]


def parts_of_onnx(folder: Folder) -> OnnxParts:
    """What can be read of a folder in which some files may not be here."""
    return _OnnxLook(folder).parts()


class _OnnxLook:
    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._findings = FolderProblems(folder.path)
        self._facts = GraphFacts()

    def inspect(self) -> SourceModel:
        if refused := self._folder.refusal("SourceMissing"):
            self._findings.note("", refused)
            return self._refused()
        parts = self.parts()
        attempt, stored, config = self._findings.attempt, self._folder.stored, parts.config
        if self._findings.problems or not parts.weights:
            return self._refused()
        files = tuple(file for name in sorted(parts.names) if (file := attempt(name, stored, name)) is not None)
        if self._findings.problems:
            return self._refused()
        model, added, settings = config["model"], parts.added, parts.settings
        known = {"vocab_size": model.get("vocab_size", LARGEST_COUNT)}
        doubtful = doubts(added, model, known, settings)
        return SourceModel(
            path=self._folder.path,
            digest=digest_of({file.path: file.digest for file in files}),
            architecture=str(model["type"]),
            config={"model_type": str(model["type"])},
            files=files,
            weight_bytes=sum(file.size for file in files if file.path in parts.weights),
            context_length=model["context_length"],
            chat_template=parts.template,
            tokens=tuple(added),
            ends=ends_among(added, model, known, settings),
            warnings=(*self._left_out(parts.names), *(self._findings.problem(TOKENIZER, one) for one in doubtful)),
            ready=True,
            outputs=tuple(self._facts.outputs),
            provider="" if (provider := provider_of(config)) is DEFAULT_PROVIDER else provider.name,
            device="" if provider is DEFAULT_PROVIDER else device_of(config),
            compiled=bool(self._facts.contexts or stages_of(config)),
        )

    def parts(self) -> OnnxParts:
        attempt = self._findings.attempt
        config = attempt(GENAI_CONFIG, self._config) or {}
        hears = genai_config.hears(config)
        graphs = attempt(GENAI_CONFIG, self._graphs, config) or () if config else ()
        weights = {one for graph in graphs for one in (graph, *(attempt(graph, self._data, graph, config) or ()))}
        if hears:
            attempt(AUDIO_PROCESSOR, check_audio_processor, self._folder)
        settings = attempt(TOKENIZER_CONFIG, optional_object, self._folder, TOKENIZER_CONFIG) or {}
        tokens = attempt(TOKENIZER, self._tokenizer)
        if hears and tokens is not None:  # guard: a tokenizer without added tokens lacks those that ask
            attempt(TOKENIZER, check_asked_by, tokens)
        others = (*TOKENIZER_FILES, *([AUDIO_PROCESSOR] if hears else []))
        return OnnxParts(
            config=config,
            weights=frozenset(weights),
            names=frozenset({GENAI_CONFIG, *weights, *filter(self._folder.exists, others)}),
            settings=settings,
            added=tokens or {},
            template=attempt(TEMPLATE, own_template, self._folder, settings),
            problems=tuple(self._findings.problems),
        )

    def _refused(self) -> SourceModel:
        return SourceModel(path=self._folder.path, problems=tuple(self._findings.problems), ready=True)

    def _config(self) -> dict[str, Any]:
        if not self._folder.exists(GENAI_CONFIG):
            raise self._no_config()
        config = read_object(self._folder, GENAI_CONFIG)
        try:
            genai_config.check(config)
            context = genai_config.context_length(config)
        except PermanentError as error:
            message = str(error).removeprefix(f"{GENAI_CONFIG}: ")
            raise InputRefused(error.code, message, _CONFIG_HINT) from None
        model = config["model"]
        if not SHORTEST_CONTEXT <= context <= LARGEST_COUNT:
            message = f"model.context_length: expected {SHORTEST_CONTEXT} to 2^24 tokens, got {context}"
            raise InputRefused("GenaiConfigRefused", message)
        if not model.get("type"):
            raise InputRefused("GenaiConfigRefused", "model.type: expected the kind of model, such as qwen2")
        if not end_tokens(model.get("vocab_size", LARGEST_COUNT), model):
            raise InputRefused("EndTokenMissing", "model.eos_token_id: no token ends an answer")
        return config

    def _no_config(self) -> InputRefused:
        names = self._folder.names()
        if WEIGHTS in names or any(name.endswith(".safetensors") for name in names):
            hint = "name it as `path` or `huggingface` directly below `source`: it is converted then"
            return InputRefused("GenaiConfigMissing", "missing: these are weights, not a ready ONNX model", hint)
        hint = "onnxruntime-genai's model builder and Olive write it; a folder inside a repository is named by `folder`"
        return InputRefused("GenaiConfigMissing", "missing: it says how the runtime loads the model", hint)

    def _graphs(self, config: dict[str, Any]) -> tuple[str, ...]:
        """The name of the one graph; of a model that hears, also of the one that hears; of a pipeline those of all."""
        if stages := stages_of(config):
            return tuple(self._graph(f"decoder.pipeline.{name}", held.get("filename")) for name, held in stages)
        parts = ("decoder", "encoder") if genai_config.hears(config) else ("decoder",)
        return tuple(self._graph(part, config["model"].get(part, {}).get("filename")) for part in parts)

    def _graph(self, part: str, name: object) -> str:
        if not isinstance(name, str):
            message = f"model.{part}.filename: expected the name of the ONNX file"
            hint = "a model of one ONNX file is served, a pipeline, or a Whisper of an encoder and a decoder"
            raise InputRefused("GenaiConfigRefused", message, hint)
        if not (is_safe(name) and name.endswith(ONNX_GRAPH)):  # guard: what the configuration names is a graph
            message = f"model.{part}.filename: expected *{ONNX_GRAPH} in this folder, got {shown(name)}"
            raise InputRefused("GenaiConfigRefused", message)
        return self._whole(name, f"{GENAI_CONFIG} names it")

    def _whole(self, name: str, who: str) -> str:
        if not self._folder.exists(name):
            raise InputRefused("OnnxFileMissing", f"expected {shown(name)}, because {who}, but there is none")
        if not self._folder.size(name):  # guard: an empty file is no model
            raise InputRefused("OnnxFileMissing", f"{shown(name)} is empty, and {who}")
        return name

    def _data(self, graph: str, config: dict[str, Any]) -> set[str]:
        """The files with its weights, each as long as the graph needs it, and with what was compiled of it."""
        size, needed, before = self._folder.size(graph), dict[str, int](), len(self._facts.contexts)
        with self._folder.opened(graph) as file:
            for one in external_data(file, size, self._facts):
                needed[one.location] = max(needed.get(one.location, 0), _end(one))
        provider, contexts = provider_of(config), self._facts.contexts[before:]
        check_whole(graph, provider, device_of(config), compiled=bool(contexts))
        compiled = {self._whole(name, f"{graph} names it") for name in compiled_files(graph, contexts, provider)}
        for name, end in needed.items():
            self._findings.attempt(name if is_safe(name) else graph, self._check_data, name, end)
        return set(needed) | compiled

    def _check_data(self, name: str, end: int) -> None:
        if not (is_safe(name) and name.endswith(ONNX_DATA)):  # guard: weights stay in the folder
            expected = listed([f"*{ending}" for ending in ONNX_DATA])
            message = f"its weights lie in {shown(name)}, expected {expected} in this folder"
            raise InputRefused("OnnxDataOutside", message, "save it again, with its weights in one file beside it")
        size = self._folder.size(self._whole(name, "the graph keeps weights in it"))
        if size < end:  # guard: the graph's weights are all there
            raise InputRefused("WeightsTruncated", f"{size} bytes long, and the graph needs {end}")

    def _tokenizer(self) -> dict[str, int]:
        if not self._folder.exists(TOKENIZER):
            hint = "copy the tokenizer's files from the original model"
            raise InputRefused("TokenizerMissing", "missing: the model would answer nothing", hint)
        return check_tokenizer(self._folder)

    def _left_out(self, names: frozenset[str]) -> Iterator[Problem]:
        left = [one for one in self._folder.names() if one not in names and not _is_note(one)]
        if left:
            named = few([shown(one) for one in left], MOST_NAMED)
            message = f"{named}: not named by {GENAI_CONFIG} or the graph, so left out"
            yield self._findings.problem("", InputRefused("FilesLeftOut", message))


def _end(one: ExternalData) -> int:
    return one.offset + (one.length if one.length is not None else 1)


def _is_note(name: str) -> bool:
    return name.startswith(".") or name in _NOTES or is_of_file_manager(name)
