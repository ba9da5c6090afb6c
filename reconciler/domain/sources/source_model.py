"""What a model folder is, by its small files and the headers of its weights.

Of a folder only the files named here exist for us: nothing else is hashed, given to the converter, or run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.domain import digest
from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import Problem

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# What a tokenizer may consist of, in a source and in what is converted from it.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
)
# Those of them that say how a text is read: what an adapter brings of its own in the place of its base's.
READING_FILES = tuple(name for name in TOKENIZER_FILES if name != "chat_template.jinja")
SMALL_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES)
GENAI_CONFIG = "genai_config.json"
AUDIO_PROCESSOR = "audio_processor_config.json"  # of a model that hears: how sound becomes what its encoder takes
# Of a ready ONNX folder, beside its tokenizer: graphs and their weights, by the ends of their names.
ONNX_GRAPH = ".onnx"
ONNX_DATA = (".onnx.data", ".onnx_data")
# And what was compiled beforehand for one execution provider, where the graph names it: also a pickle may end in .bin.
# What a lock takes of them is called as the makers' tools call it; a folder of this disk may call it otherwise.
COMPILED = (".xml", ".bin")
COMPILED_NAMES = ("openvino_model.xml", "openvino_model.bin", "*_qnn.bin")
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class SourceModel:
    """`digest` covers the files that decide a conversion and is empty when there are `problems`; so are the rest.

    `shapes` are those of every tensor in the weights. `warnings` do not stop a conversion. One that is not `known` lies
    where it cannot be read from here: only its digest is given, and what a conversion will cost is unknown. One without
    shapes is known by the lock's facts alone: also then the cost is unknown, and so are its tokens. One that is `ready`
    is an ONNX folder, which is taken as it is: it has no shapes, and `config` holds its family alone.
    """

    path: str
    digest: str = ""
    architecture: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    files: tuple[StoredFile, ...] = ()
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weight_bytes: int = 0
    context_length: int = 0
    chat_template: str | None = None
    tokens: tuple[str, ...] = ()  # that the tokenizer adds, each read as one
    ends: tuple[str, ...] = ()  # those of them that end an answer
    reading: Mapping[str, str] = field(default_factory=dict)  # digests of the tokenizer's parts before its vocabulary
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    known: bool = True
    ready: bool = False
    outputs: tuple[str, ...] = ()  # of the graph of a ready one
    provider: str = ""  # the execution provider that a ready one asks for; "": the CPU's
    device: str = ""  # of that provider, as it is asked for; "": what the provider is for
    compiled: bool = False  # a ready one that holds what was compiled, or several graphs: its weights are not read

    @property
    def looked_at(self) -> bool:
        """Its files were, so its tokens are known."""
        return bool(self.shapes) or (self.ready and self.known)


@dataclass(frozen=True, kw_only=True)
class SourceAdapter:
    """A LoRA folder as PEFT writes it, with the chat template and the tokenizer that its trainer saved beside it.
    `digest` and `files` are without that tokenizer, whose files are in `tokenizer`: what is served of it depends on the
    base (engine.recipes). `ids` are those of `tokens`. `known` as in SourceModel."""

    path: str
    digest: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    files: tuple[StoredFile, ...] = ()
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weight_bytes: int = 0
    problems: tuple[Problem, ...] = ()
    known: bool = True
    chat_template: str | None = None
    tokenizer: tuple[StoredFile, ...] = ()
    tokens: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    eos_token: str = ""
    reading: Mapping[str, str] = field(default_factory=dict)


def digest_of(files: dict[str, str]) -> str:
    """Of a whole folder: what its chosen files are called and hold ({name: digest})."""
    return digest.of_value(sorted(files.items()))
