"""The folder that Olive gets: the files of the source that count, and nothing that names code.

Links, not copies: a source may be large, and hard links would change its time stamps. The content is compared with the
digest in the recipe before the conversion and checked again after it, so that a source edited since the plan or while
Olive read it is not stored under a key it does not have. What was read for the plan and has its stamp still is not read
once more (`Order.digests`).
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.domain.errors import ConversionFailed
from reconciler.domain.sources.source_model import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    INDEX,
    READING_FILES,
    SMALL_FILES,
    WEIGHTS,
    digest_of,
)
from reconciler.host.stamps import only_links_changed, stamp_of

_FLOATS = ("_multiplier", "logits_scaling", "logit_scale", "softcapping", "_eps", "_epsilon")
_MAY_NAME_CODE = ("config.json", "tokenizer_config.json")


@dataclass(frozen=True, kw_only=True)
class Staged:
    """`weights` are paths in the staged folder; `linked` gives the status (from before the digest was taken) and digest
    of each file that its links lead to."""

    weights: tuple[str, ...]
    linked: dict[str, tuple[os.stat_result, str]]


def stage_source(source: str, folder: str, expected: str, known: Mapping[str, str]) -> Staged:
    """`known`: digests by stamp. Raises ConversionFailed where the content is not what is expected."""
    weights = _weight_names(source)
    index = () if WEIGHTS in weights else (INDEX,)
    names = [name for name in (*SMALL_FILES, *index, *weights) if os.path.exists(os.path.join(source, name))]
    linked = _stage(source, folder, names, expected, known)
    for name in _MAY_NAME_CODE:
        _forget_code(os.path.join(folder, name))
    _write_floats(os.path.join(folder, "config.json"))
    return Staged(weights=tuple(os.path.join(folder, name) for name in weights), linked=linked)


def stage_adapter(adapter: str, folder: str, model: str, expected: str, known: Mapping[str, str]) -> Staged:
    """Where what is expected is the adapter with the tokenizer beside it, that takes the place of the base's in the
    staged folder of the `model`."""
    names = [ADAPTER_CONFIG, ADAPTER_WEIGHTS]
    own = [name for name in READING_FILES if os.path.exists(os.path.join(adapter, name))]
    try:
        linked = _stage(adapter, folder, names, expected, known)
    except ConversionFailed:
        shutil.rmtree(folder)
        linked = _stage(adapter, folder, [*names, *own], expected, known)
        _replace_tokenizer(folder, model, own)
    return Staged(weights=(os.path.join(folder, ADAPTER_WEIGHTS),), linked=linked)


def _replace_tokenizer(folder: str, model: str, own: list[str]) -> None:
    for name in READING_FILES:
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(model, name))
    for name in own:
        os.rename(os.path.join(folder, name), os.path.join(model, name))
    _forget_code(os.path.join(model, "tokenizer_config.json"))


def check_unchanged(staged: Staged) -> None:
    for path, (before, digest) in staged.linked.items():
        if not _is_unchanged(path, before, digest):
            raise ConversionFailed(
                f"the source changed while it was read: {os.path.basename(path)}", code="SourceChanged"
            )


def _is_unchanged(path: str, before: os.stat_result, digest: str) -> bool:
    """A hard link made meanwhile changes the ctime alone, and then the content decides. When more has changed, the
    content may have been different for a while."""
    try:
        now = os.stat(path)
        return stamp_of(now) == stamp_of(before) or (only_links_changed(before, now) and _digest(path) == digest)
    except OSError:
        return False


def _weight_names(source: str) -> list[str]:
    if os.path.exists(os.path.join(source, WEIGHTS)):
        return [WEIGHTS]
    with open(os.path.join(source, INDEX), encoding="utf-8") as file:
        return sorted(set(json.load(file)["weight_map"].values()))


def _stage(
    source: str, folder: str, names: list[str], expected: str, known: Mapping[str, str]
) -> dict[str, tuple[os.stat_result, str]]:
    os.makedirs(folder)
    for name in names:
        _link(os.path.realpath(os.path.join(source, name)), os.path.join(folder, name))
    staged = [os.path.join(folder, name) for name in names]
    looks = [os.stat(path) for path in staged]  # before the digests: a change between the two shows in the end
    digests = [known.get(stamp_of(look)) or _digest(path) for path, look in zip(staged, looks, strict=True)]
    if digest_of(dict(zip(names, digests, strict=True))) != expected:
        raise ConversionFailed(f"{os.path.basename(source)} has changed since the plan", code="SourceChanged")
    found = zip(staged, looks, digests, strict=True)
    return {os.path.realpath(path): (look, digest) for path, look, digest in found if os.path.islink(path)}


def _link(source: str, destination: str) -> None:
    try:
        os.symlink(source, destination)
    except OSError:  # Windows without the privilege
        shutil.copyfile(source, destination)


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _forget_code(path: str) -> None:
    """A second protection: `hf_remote: false` in the configuration is the first."""
    _change(path, lambda settings: {name: held for name, held in settings.items() if name != "auto_map"})


def _write_floats(path: str) -> None:
    """The builder writes such a number as the type it finds, and the graph takes no whole one there (Granite)."""
    _change(path, lambda config: {name: _as_float(name, held) for name, held in config.items()})


def _as_float(name: str, held: Any) -> Any:
    return float(held) if name.endswith(_FLOATS) and type(held) is int else held


def _change(path: str, changed: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A file of the staged folder alone: what is a link becomes a file, where anything changes."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        settings = json.load(file)
    if (text := json.dumps(changed(settings))) != json.dumps(settings):
        os.remove(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def model_config(source: str) -> dict[str, Any]:
    """Its config.json; empty where that is missing or no JSON object."""
    try:
        with open(os.path.join(source, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
