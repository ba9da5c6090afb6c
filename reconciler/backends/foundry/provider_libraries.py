"""Execution providers whose library is on this machine already (`providerLibraries` of its configuration): named to
Foundry Local by its own variables, and registered before a model that asks for one of them loads.

Foundry Local would download a provider otherwise (2.2.1: hundreds of MB, past rate, window and budget). Where its
variable names a library it takes that one and asks no network; so nothing is registered without.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from reconciler.domain.targets.execution_providers import provider_of

VARIABLES = {  # that Foundry Local 2.2.1 reads
    "CUDAExecutionProvider": "FOUNDRY_LOCAL_CUDA_EP_LIBRARY",
    "WebGpuExecutionProvider": "FOUNDRY_LOCAL_WEBGPU_EP_LIBRARY",
}


def environment_of(libraries: Mapping[str, str]) -> dict[str, str]:
    return {VARIABLES[name]: path for name, path in libraries.items()}


def register_for(folder: str, manager: Any) -> None:
    """What the model in this folder asks for, from the library that is named for it. `manager` is the SDK's. Where it
    registers nothing, the load says what is missing."""
    with open(os.path.join(folder, "genai_config.json"), encoding="utf-8") as file:
        wanted = provider_of(json.load(file)).name
    # guard: no provider is downloaded
    if not os.environ.get(VARIABLES.get(wanted, "")):
        return
    found = [one for one in manager.discover_eps() if one.name.casefold() == wanted.casefold()]
    if names := [one.name for one in found if not one.is_registered]:
        manager.download_and_register_eps(names)
