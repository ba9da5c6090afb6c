"""Who may import whom, and what a verb loads. The contracts themselves are in pyproject.toml."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

# Each costs seconds and hundreds of megabytes: worker processes only.
HEAVY = (
    "accelerate",
    "foundry_local_sdk",
    "hf_xet",
    "httpx2",
    "huggingface_hub",
    "matplotlib",
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
    "cryptography",  # for signatures only
    "license_expression",  # for licences, in policies and bills of materials
    "pathspec",  # for a .reconcilerignore only
    "urllib3",  # small, but for registries only
)

CONVERTS = importlib.util.find_spec("olive") is not None  # `make setup`, not `make light`
VERBS = (
    "--help",
    "--version",
    "plan --help",
    "apply --help",
    "run --help",
    "build --help",
    "validate manifests",
    "lock --check",
    "plan",
    "status",
    "events",
    "verify",
    "history --help",
    "rollback --help",
    "doctor",
    "gc --help",
    "gc --dry-run",
    "inventory",
    "fleet --help",
    "bom capitals",
    "drift",
    "bench --help",
    "template chatml --to jinja",
    "template examples/capitals/model/chat_template.jinja --to roles",
    "template capitals --to roles",
    "diff --help",
    "diff HEAD HEAD",
)

# The modules of all verbs are imported once; from there each verb is a process of its own.
LIST_MODULES = """
import json, os, sys
from importlib import import_module
from reconciler.cli.main import VERBS, main

for verb in VERBS:
    import_module(f"reconciler.cli.verbs.{verb}")

def modules_of(verb, root, out):
    os.environ.update(HOME=f"{root}/home", RECONCILER_ROOT=f"{root}/root", RECONCILER_CACHE=f"{root}/cache")
    sys.argv = ["reconciler", *verb.split()]
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    with open(out, "w") as file:
        json.dump([code or 0, sorted({name.partition(".")[0] for name in sys.modules})], file)

for number, verb in enumerate(sys.argv[2:]):
    root = f"{sys.argv[1]}/{number}"
    os.mkdir(root)
    child = os.fork()
    if child == 0:
        modules_of(verb, root, f"{root}.json")
        os._exit(0)  # its modules are not taken apart, which takes longer than most verbs
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, list[str]]]:
    """Exit code and top-level modules of each verb, run against an empty machine; with what importing the other verbs
    loads."""
    top = tmp_path_factory.mktemp("verbs")
    command = [sys.executable, "-c", LIST_MODULES, str(top), *VERBS]
    environment = {"PATH": os.environ["PATH"]}
    subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, check=True, timeout=300)
    found = {verb: top / f"{number}.json" for number, verb in enumerate(VERBS)}
    return {verb: tuple(json.loads(path.read_text())) for verb, path in found.items() if path.exists()}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_loads_no_heavy_package(verb: str, loaded: dict[str, tuple[int, list[str]]]) -> None:
    if "HEAD" in verb and not (CHECKOUT / ".git").exists():
        pytest.skip("these sources were unpacked, not cloned")
    code, modules = loaded[verb]
    # The example is pending on an empty machine; the doctor misses what `make light` leaves out.
    expected = {"drift": 2, "doctor": 0 if CONVERTS else 1}
    assert code == expected.get(verb, 0)
    assert "reconciler" in modules
    assert set(HEAVY).isdisjoint(modules)


@pytest.mark.slow  # `make check` runs import-linter itself
def test_imports_keep_the_contracts() -> None:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    child = subprocess.run(
        [*lint, "--no-cache"], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120
    )
    assert child.returncode == 0, child.stdout


def names_of(module: str) -> set[str]:
    """What can be imported from a module or package of ours, without running it."""
    path = CHECKOUT / module.replace(".", "/")
    names = {entry.name.removesuffix(".py") for entry in path.iterdir()} if path.is_dir() else set()
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update(alias.asname or alias.name for alias in aliases)
    return names


def test_every_name_imported_inside_a_function_is_there() -> None:
    """At the top of a file it is collected or not; here a test that runs last would be the first to notice."""
    known: dict[str, set[str]] = {}
    missing = []
    for path in (
        path for folder in ("tests", "bench", "ci", "examples") for path in CHECKOUT.glob(f"{folder}/**/*.py")
    ):
        text = path.read_text(encoding="utf-8")
        if "    from reconciler." not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reconciler"):
                names = known.setdefault(node.module, names_of(node.module))
                missing += [f"{path.name}: {node.module}.{name.name}" for name in node.names if name.name not in names]
    assert not missing
