"""Which execution providers compute a served model: the runtime reads three tokens and profiles itself, operator by
operator. For the runtime's worker process only.

What a provider cannot compute the runtime gives to the CPU, and says nothing: a model answers as well, and slowly.
"""

import json
import os
import re
import tempfile
from collections import Counter
from typing import Any

from reconciler.backends.foundry.generator import QUIET, Generator, LoadedModel
from reconciler.domain.measured import ComputedBy
from reconciler.domain.targets.execution_providers import stages_of

HEAVY = ("MatMul", "MatMulNBits", "Gemm", "GroupQueryAttention", "MultiHeadAttention", "Attention")
TOKENS = (1, 2, 3)
_FUSED = re.compile("EPContext|.*[_-].*")  # what a provider computes as one, and calls by a name of its own


def computed(folder: str) -> list[ComputedBy]:
    """Raises PermanentError in the runtime's own words."""
    with open(os.path.join(folder, "genai_config.json"), encoding="utf-8") as file:
        config = json.load(file)
    # As of a recording: what the runtime holds open on Windows must not hide what it said.
    with tempfile.TemporaryDirectory(prefix="profile-", ignore_cleanup_errors=True) as profiles:
        loaded = LoadedModel(folder, config["model"]["vocab_size"], 0, _profiled(config, profiles))
        with loaded as model, Generator(model, len(TOKENS) + 1) as generator:
            generator.append(TOKENS)
            generator.logits()
        found = [one for name in sorted(os.listdir(profiles)) for one in _operators(os.path.join(profiles, name))]
    operators, heavy = Counter(one for one, _ in found), Counter(one for one, kind in found if is_heavy(kind))
    return [ComputedBy(provider=one, operators=operators[one], heavy=heavy[one]) for one in sorted(operators)]


def _profiled(config: dict[str, Any], folder: str) -> dict[str, Any]:
    """What has each graph's profile written into `folder`. The runtime adds the millisecond to the name that it is
    given, so two graphs of one name can fall on one file, and one of them is lost."""
    if stages := stages_of(config):
        return QUIET | {"pipeline": [{name: _profile(folder, f"run-{n}")} for n, (name, _) in enumerate(stages)]}
    return {"session_options": QUIET["session_options"] | _profile(folder, "run")["session_options"]}


def _profile(folder: str, name: str) -> dict[str, Any]:
    return {"session_options": {"enable_profiling": os.path.join(folder, name)}}


def is_heavy(kind: str) -> bool:
    """Operators that a provider compiled into one have products of matrices within them, as far as a profile tells."""
    return kind in HEAVY or _FUSED.fullmatch(kind) is not None


def _operators(path: str) -> list[tuple[str, str]]:
    """The provider and the kind of each."""
    with open(path, encoding="utf-8") as file:
        events = json.load(file)
    nodes = (one.get("args", {}) for one in events if one.get("cat") == "Node")
    return [(str(one["provider"]), str(one.get("op_name", ""))) for one in nodes if one.get("provider")]
