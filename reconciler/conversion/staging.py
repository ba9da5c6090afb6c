"""The folder that Olive is given: the files of the source that count, and nothing that names code.

Links, not copies: a source may be large, and hard links would change its time stamps. What the folder holds is compared
with the digest in the recipe first, so that a source edited since the plan is not stored under a key it does not have.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil

from reconciler.core.errors import ConversionFailed
from reconciler.core.source_model import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    INDEX,
    SMALL_FILES,
    WEIGHTS,
    digest_of,
)

_MAY_NAME_CODE = ("config.json", "tokenizer_config.json")


def stage_source(source: str, folder: str, expected: str) -> list[str]:
    """Returns the paths of the weights."""
    weights = _weight_names(source)
    index = () if WEIGHTS in weights else (INDEX,)
    names = [name for name in (*SMALL_FILES, *index, *weights) if os.path.exists(os.path.join(source, name))]
    _stage(source, folder, names, expected)
    for name in _MAY_NAME_CODE:
        _forget_code(os.path.join(folder, name))
    return [os.path.join(folder, name) for name in weights]


def stage_adapter(adapter: str, folder: str, expected: str) -> list[str]:
    _stage(adapter, folder, [ADAPTER_CONFIG, ADAPTER_WEIGHTS], expected)
    return [os.path.join(folder, ADAPTER_WEIGHTS)]


def _weight_names(source: str) -> list[str]:
    if os.path.exists(os.path.join(source, WEIGHTS)):
        return [WEIGHTS]
    with open(os.path.join(source, INDEX), encoding="utf-8") as file:
        return sorted(set(json.load(file)["weight_map"].values()))


def _stage(source: str, folder: str, names: list[str], expected: str) -> None:
    os.makedirs(folder)
    for name in names:
        _link(os.path.realpath(os.path.join(source, name)), os.path.join(folder, name))
    if digest_of({name: _digest(os.path.join(folder, name)) for name in names}) != expected:
        raise ConversionFailed(
            f"{os.path.basename(source)} has changed since the plan", code="SourceChanged", hint="plan again"
        )


def _link(source: str, destination: str) -> None:
    try:
        os.symlink(source, destination)
    except OSError:  # Windows without the privilege
        shutil.copyfile(source, destination)


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _forget_code(path: str) -> None:
    """The second lock: `hf_remote: false` in the configuration is the first."""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        settings = json.load(file)
    if settings.pop("auto_map", None) is not None:
        os.remove(path)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file)
