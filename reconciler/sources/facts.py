"""What a look at a model folder or an adapter found, as a document: enough to know what its conversion is called,
where the weights themselves are not. Written by one machine, read by itself or by another one of the same version.
"""

from dataclasses import replace
from typing import Any

from reconciler.domain.sources.model_config import complaints
from reconciler.domain.sources.source_model import SourceAdapter, SourceModel, digest_of
from reconciler.host.codec import Codec, Damaged, Misformed, seal, unseal

# Raise it only when what was found in a folder that was taken means something else now: the facts of earlier versions
# are not read then, and each machine fetches all sources again whose weights it has let go.
FACTS_VERSION = 6
_MODEL, _ADAPTER = Codec(SourceModel), Codec(SourceAdapter)


def model_facts(model: SourceModel) -> bytes:
    return seal({"version": FACTS_VERSION, "model": _MODEL.write(replace(model, path=""))})


def adapter_facts(adapter: SourceAdapter) -> bytes:
    return seal({"version": FACTS_VERSION, "adapter": _ADAPTER.write(replace(adapter, path=""))})


def read_model_facts(data: bytes) -> SourceModel | None:
    """None for what is damaged, or was written by another version."""
    found = _read(data, _MODEL, "model")
    if found is None or not (found.ready or not complaints(found.config)):
        return None
    return found if _is_sound(found) else None


def read_adapter_facts(data: bytes) -> SourceAdapter | None:
    found = _read(data, _ADAPTER, "adapter")
    return found if found is not None and _is_sound(found) else None


def _read(data: bytes, codec: Codec[Any], name: str) -> Any:
    try:
        facts = unseal(data)
        return codec.read(facts[name]) if facts["version"] == FACTS_VERSION else None
    except (Damaged, Misformed, ValueError, LookupError, TypeError, RecursionError):
        return None


def _is_sound(found: SourceModel | SourceAdapter) -> bool:
    return not found.problems and found.digest == digest_of({file.path: file.digest for file in found.files})
