"""What a served folder holds besides the weights, as bytes. Pure: `backends.foundry.folder` writes them.

Of the artifact's own files only weights and tokenizer data are served as they are. What steers the runtime is
written here: `genai_config.json` from an allow-list, exactly one chat template, `inference_model.json` in
Foundry's file form. (Served folders lie outside every Foundry cache: a 2.x cache would send the names in
inference_model.json to the public catalog service.)
"""

import json
from typing import Any

from reconciler.backends.foundry import genai_config as genai
from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import PermanentError
from reconciler.domain.plain_data import as_dict
from reconciler.domain.release import Artifact, Release
from reconciler.domain.sources.source_model import COMPILED
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER, takes_compiled
from reconciler.domain.targets.tasks import CHAT
from reconciler.templates.lint import template_bytes

MARKER = "release.json"

# Written anew for each release. The runtime prefers a template in tokenizer_config.json over
# chat_template.jinja and reads chat_template.json when there is no other, so every carrier but one has to go.
_WRITTEN = {"genai_config.json", "tokenizer_config.json", "chat_template.jinja", "inference_model.json", MARKER}

# The builder's and the source's own notes: the runtime does not read them, and one holds paths of the build
# machine.
_LEFT_OUT = {"chat_template.json", "model_config.json", "config.json", "generation_config.json"}

_SERVED_ENDINGS = (".onnx", ".onnx.data", ".onnx_data", ".json", ".txt", ".model")


def kept_files(artifact: Artifact, provider: str = DEFAULT_PROVIDER.name) -> tuple[StoredFile, ...]:
    """The artifact's files that are served as they are; anything that could be code is refused. What was compiled
    beforehand is served for a `provider` that takes it, and for no other: such a name may be a pickle's."""
    # guard: what is compiled is served for its provider alone
    takes = takes_compiled(provider)
    endings = (*_SERVED_ENDINGS, *(COMPILED if takes else ()))
    return tuple(file for file in artifact.files if _is_kept(file.path, endings))


def _is_kept(path: str, endings: tuple[str, ...]) -> bool:
    if path.casefold() in _WRITTEN or path in _LEFT_OUT or path.startswith("additional_chat_templates/"):
        return False
    if not path.endswith(endings) or not _stays_inside(path):  # guard: no code in a served folder
        raise PermanentError(
            f"the artifact holds {path!r}, which is neither weights nor tokenizer data",
            code="ArtifactRefused",
            hint="a served folder holds no code; convert the model again with the pinned tools",
        )
    return True


def _stays_inside(path: str) -> bool:
    return not set(path) & set("\\:\0") and all(part not in {"", ".", ".."} for part in path.split("/"))


def written_files(
    release: Release, number: int, genai_config: bytes, tokenizer_config: bytes | None
) -> dict[str, bytes]:
    """Every small file of this release but its marker. The arguments in bytes are the artifact's own
    files."""
    config = genai.genai_config(genai_config, release.generation, release.recipe.target.execution_provider)
    files = {
        "genai_config.json": _json(config),
        "inference_model.json": _json(_inference_model(release, number, genai.context_length(config))),
    }
    if release.task == CHAT:
        files["chat_template.jinja"] = template_bytes(release.template)
    if tokenizer_config is not None:
        files["tokenizer_config.json"] = _json(_tokenizer_config(tokenizer_config))
    return files


def _tokenizer_config(text: bytes) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PermanentError(f"tokenizer_config.json is not JSON: {error}", code="ArtifactRefused") from None
    if not isinstance(config, dict):
        raise PermanentError("tokenizer_config.json is not an object", code="ArtifactRefused")
    # guard: no auto_map is served
    return {key: value for key, value in config.items() if key not in {"chat_template", "auto_map"}}


def _inference_model(release: Release, number: int, context_length: int) -> dict[str, Any]:
    roles = {role: text for role, text in (release.roles or {}).items() if text}
    generation = {name: value for name, value in as_dict(release.generation).items() if value is not None}
    return {
        "Name": f"{release.variant}:{number}",
        "Description": f"{release.model} at {release.precision}, template: {release.template_origin}",
        "Version": str(number),
        "PromptTemplate": roles or None,
        "ModelConfig": {
            "precision": release.precision,
            "context_length": context_length,
            "device": release.recipe.target.device,
            "execution_provider": release.recipe.target.execution_provider,
            "generation": generation,
        },
    }


def _json(value: object) -> bytes:
    try:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise PermanentError(f"a number that JSON cannot hold: {error}", code="ArtifactRefused") from None
    return text.encode() + b"\n"
