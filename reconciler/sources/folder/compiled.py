"""What of a ready ONNX model was compiled beforehand for one execution provider (the operator EPContext), and the files
beside the graph that hold it.

The provider opens the file that the operator names, so nothing is taken but the two forms whose every name is known:
OpenVINO's model in two files that are called as the graph is, and Qualcomm's binary, in the graph or in a file that it
names. Nothing here reads such a file.
"""

import re
from collections.abc import Iterator, Mapping

from reconciler.domain.errors import InputRefused
from reconciler.domain.sources.locked import is_safe
from reconciler.domain.sources.source_model import COMPILED, ONNX_GRAPH
from reconciler.domain.targets.execution_providers import OPENVINO_IR, ExecutionProvider
from reconciler.domain.text.quoting import shown

Attributes = Mapping[str, str | int | None]

_CODE = "CompiledRefused"
_MADE_FOR = re.compile("(openvino|qnn)(executionprovider)?")
# By what ONNX Runtime's design of EPContext and the makers' tools write. `onnx_model_filename` (TensorRT) and
# `ep_dlc_context` (Qualcomm's Genie, whose file has settings of its own) name further files.
_KNOWN = {
    *("main_context", "ep_cache_context", "embed_mode", "ep_sdk_version", "partition_name", "source", "notes"),
    *("max_size", "hardware_architecture", "DeviceClass"),
}
_HINT = "docs/execution-providers.md says which forms are taken; take a variant for other hardware"


def compiled_files(graph: str, contexts: list[dict[str, str | int | None]], provider: ExecutionProvider) -> set[str]:
    """The files beside this graph in which its compiled parts lie. Raises InputRefused for what is not known."""
    return {name for one in contexts for name in _files(graph, one, provider)}


def check_whole(graph: str, provider: ExecutionProvider, device: str, *, compiled: bool) -> None:
    """Raises InputRefused where the provider would give a graph that is not compiled to the CPU, and tell nobody."""
    # guard: OpenVINO computes nothing by the CPU that is made for the NPU
    if provider.contexts == OPENVINO_IR and device == "npu" and not compiled:
        message = (
            f"{graph} is not compiled beforehand: where the NPU cannot compute such a graph, OpenVINO takes the CPU, "
            "and no profile tells"
        )
        raise InputRefused(_CODE, message, "let Olive encapsulate it (OpenVINOEncapsulation), or name the GPU")


def _files(graph: str, held: Attributes, provider: ExecutionProvider) -> Iterator[str]:
    source = str(held.get("source")).lower()
    # guard: what was compiled is for the provider that computes it
    if not (provider.contexts and _MADE_FOR.fullmatch(source) and source.startswith(provider.genai_name.lower())):
        raise _refused(f"{graph} holds what was compiled for {shown(str(held.get('source')))}, for {provider.name}")
    # guard: what is compiled names no file by a way that is not known
    if unknown := sorted(held.keys() - _KNOWN):
        raise _refused(f"{graph}: EPContext.{unknown[0][:100]}: not on the list of what may be served")
    name, embedded = held.get("ep_cache_context", ""), held.get("embed_mode")
    if provider.contexts == OPENVINO_IR:
        stem = graph.removesuffix(ONNX_GRAPH)
        # guard: OpenVINO's model is called as its graph is
        if embedded or name != f"{stem}.xml":
            raise _refused(f"{graph}: EPContext.ep_cache_context: expected {stem}.xml beside it, got {_told(name)}")
        yield from (f"{stem}{ending}" for ending in COMPILED)
    elif "ep_cache_context" in held and embedded != 1:
        # guard: a binary lies in the folder
        if not (embedded == 0 and isinstance(name, str) and is_safe(name, (".bin",))):
            raise _refused(f"{graph}: EPContext.ep_cache_context: expected *.bin in this folder, got {_told(name)}")
        yield name


def _told(name: str | int | None) -> str:
    return shown(name) if isinstance(name, str) else "no name of a file"


def _refused(message: str) -> InputRefused:
    return InputRefused(_CODE, message, _HINT)
