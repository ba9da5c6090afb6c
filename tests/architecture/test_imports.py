"""Who may import whom, and what a verb loads. The contracts themselves are in pyproject.toml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

# Each costs seconds and hundreds of megabytes: worker processes only.
HEAVY = (
    "foundry_local_sdk",
    "hf_xet",
    "httpx2",
    "huggingface_hub",
    "numpy",
    "olive",
    "onnx",
    "onnxruntime",
    "onnxruntime_genai",
    "peft",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
)

# Light, but start-up is a feature: together they cost four times a bare interpreter.
UNHURRIED = ("click", "git", "pydantic", "rich", "structlog", "watchfiles", "yaml")

# A verb and what it may load besides the standard library.
VERBS: dict[str, tuple[str, ...]] = {
    "--help": (),
    "--version": (),
    "plan --help": (),
    "apply --help": (),
    "run --help": (),
    "validate manifests": ("pydantic", "yaml"),
    "lock --check": ("pydantic", "yaml"),
    "plan": ("pydantic", "yaml"),
    "status": (),
    "events": (),
    "verify": (),
    "history --help": (),
    "rollback --help": (),
    "doctor": (),
    "gc --help": (),
    "gc --dry-run": ("pydantic", "yaml"),
    "inventory": (),
    "drift": ("pydantic", "yaml"),
    "bench --help": (),
    "template chatml --to jinja": (),
    "template examples/capitals/model/chat_template.jinja --to roles": (),
    "template capitals --to roles": ("pydantic", "yaml"),
    "diff --help": (),
    "diff HEAD HEAD": ("pydantic", "yaml"),
}

LIST_MODULES = """
import json, sys
sys.argv = ["reconciler", *sys.argv[1:]]
from reconciler.cli.main import main
try:
    code = main()
except SystemExit as end:
    code = end.code
print("\\n" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_a_configuration_that_is_known_costs_no_parser(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text("apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\nname: edge-7\n")
    config.chmod(0o644)
    verb = f"status --config {config}"
    assert "yaml" in run_verb(verb, tmp_path)[1]
    code, modules = run_verb(verb, tmp_path)
    assert code == 0
    assert {*HEAVY, *UNHURRIED}.isdisjoint(modules)


def run_verb(verb: str, root: Path) -> tuple[int, list[str]]:
    """Exit code and top-level modules of one verb, run in a child Python against an empty machine."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(root / "home"),
        "RECONCILER_ROOT": str(root / "root"),
        "RECONCILER_CACHE": str(root / "cache"),
    }
    command = [sys.executable, "-c", LIST_MODULES, *verb.split()]
    child = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    code, modules = json.loads(child.stdout.splitlines()[-1])
    return code or 0, modules


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_loads_only_what_it_needs(verb: str, tmp_path: Path) -> None:
    if "HEAD" in verb and not (CHECKOUT / ".git").exists():
        pytest.skip("these sources were unpacked, not cloned")
    code, modules = run_verb(verb, tmp_path)
    assert code == (2 if verb == "drift" else 0)  # the example is pending on an empty machine
    forbidden = {*HEAVY, *UNHURRIED} - set(VERBS[verb])
    assert forbidden.isdisjoint(modules)


def test_imports_keep_the_contracts() -> None:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    child = subprocess.run(
        [*lint, "--no-cache"], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120
    )
    assert child.returncode == 0, child.stdout
