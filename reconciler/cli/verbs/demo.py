"""Convert, serve, ask, repair and prune an example model in a temporary folder. Each step runs the command that a
user would type, as a child process, and checks its output and exit code.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from textwrap import indent

from reconciler.backends.select import SERVING_TOOLS
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.conversion.toolchain import OWN_TOOL, TOOLS
from reconciler.domain.errors import PermanentError, UsageError
from reconciler.host import system
from reconciler.host.facts import serves_only
from reconciler.host.places import IMPORT_ROOT, PACKAGE, install_command, installed_versions
from reconciler.sources.git import runner

QUESTION = "What is the capital of Slovenia?"

_ENDING = """
That was the whole job. Try it on a model of your own:

  1. put a model folder (config.json, *.safetensors, tokenizer.json) into a git repository
  2. write manifests/my-model.yaml           (begin from the one above; `reconciler schema` for editors)
  3. reconciler validate                     every problem at once, with line and hint
  4. reconciler plan                         what would change here, why, and what it costs
  5. reconciler apply                        do it; again: nothing to do
  6. reconciler ask my-model-int4 "Hello"    through the real Foundry Local

`reconciler VERB --help` explains each.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", metavar="DIR", help="work in DIR (must be empty or absent) and leave it there")


def run(arguments: argparse.Namespace) -> int:
    _check_tools()
    folder = _folder(arguments.keep)
    try:
        _Demo(folder).run()
    finally:
        if arguments.keep is None:
            system.remove_tree(folder, ignore_errors=True)
    _say(_ENDING)
    if arguments.keep:
        _say(f"The demo's folder is still there: {folder}")
    return OK


def _check_tools() -> None:
    """What the demo needs beside this package, before its first step. Raises PermanentError."""
    runner.program()
    if why := serves_only():
        raise PermanentError(f"the demo converts a model, and this machine does not: {why}")
    needed = (TOOLS.keys() | SERVING_TOOLS.keys()) - {OWN_TOOL}
    if missing := sorted(needed - installed_versions(needed).keys()):
        message = f"the demo converts and serves a model, and {', '.join(missing)} is not installed"
        raise PermanentError(message, hint=install_command("all"))


def _folder(keep: str | None) -> str:
    if keep is None:
        return tempfile.mkdtemp(prefix="reconciler-demo-")
    if os.path.isdir(keep) and os.listdir(keep):
        raise UsageError(f"{keep} is not empty", hint="name a folder that does not exist yet")
    os.makedirs(keep, exist_ok=True)
    return os.path.abspath(keep)


class _Demo:
    """`folder` gets a git repository with the manifests (`fleet`), a root and a catalog."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._fleet = Path(folder, "fleet")
        self._manifest = self._fleet / "manifests" / "capitals.yaml"
        self._served = Path(folder, "state", "served")
        self._steps = 0

    def run(self) -> None:
        self._declare()
        self._serve()
        self._retemplate()
        self._damage_and_repair()
        self._prune()

    def _declare(self) -> None:
        self._step("A git repository that declares one fine-tuned model at two precisions.")
        for name in ("examples/capitals/model", "manifests"):
            shutil.copytree(os.path.join(share_folder(), name), self._fleet / name)
        self._commit("declare capitals at int4 and int8")
        _say(indent(self._manifest.read_text("utf-8"), "    "))

    def _serve(self) -> None:
        self._step("What would change on this machine, and why? Nothing is touched yet.")
        self._reconciler("plan")
        self._step("Apply it: Olive converts and quantizes, the real runtime rehearses, Foundry Local gets the names.")
        self._reconciler("apply")
        self._reconciler("status")
        self._step("A second apply finds nothing to do.")
        self._reconciler("apply")
        self._step("Ask the int4 model, through Foundry Local.")
        self._ask()

    def _retemplate(self) -> None:
        self._step("Change the prompt template in git: a new registration of the same weights, nothing is converted.")
        text = self._manifest.read_text("utf-8")
        changed = text.replace("promptTemplate: chatml", "promptTemplate: {ref: brief}")
        if changed == text:
            raise PermanentError("the example manifest does not name the chatml template any more")
        self._manifest.write_text(changed, "utf-8")
        self._commit("answer briefly")
        self._reconciler("plan")
        started = time.monotonic()
        self._reconciler("apply")
        _say(f"    (both variants re-templated in {time.monotonic() - started:.1f} s)")
        self._ask(briefly=True)

    def _damage_and_repair(self) -> None:
        self._step("Damage a served file. Foundry Local would not notice before it loads it.")
        newest = max((self._served / "capitals-int4").iterdir(), key=lambda one: int(one.name))
        victim = newest / "model.onnx.data"
        victim.chmod(0o644)
        os.truncate(victim, 1000)
        _say(f"    $ truncate -s 1000 {os.path.relpath(victim, self._folder)}")
        self._reconciler("plan")
        self._reconciler("apply")
        self._step("The repaired model answers again.")
        self._ask()

    def _prune(self) -> None:
        self._step(
            "Delete the manifest. An empty folder is more likely a mistake than intended, so apply holds the prune ..."
        )
        self._manifest.unlink()
        _say("    $ git rm manifests/capitals.yaml")
        self._commit("retire capitals")
        self._reconciler("apply", expected=PARTLY)
        self._step("... until it is confirmed. Only what this reconciler made is removed.")
        self._reconciler("apply", "--confirm")
        if any(names for _, _, names in os.walk(self._served)):
            raise PermanentError(f"something is left in {self._served}")
        self._reconciler("status")

    def _step(self, text: str) -> None:
        self._steps += 1
        _say(f"\n{self._steps}. {text}")

    def _ask(self, *, briefly: bool = False) -> None:
        answer = self._reconciler("ask", "capitals-int4", QUESTION).strip()
        if "Ljubljana" not in answer or (briefly and answer != "Ljubljana"):
            raise PermanentError(f"expected Ljubljana{' and nothing else' * briefly}, got {answer!r}")

    def _commit(self, message: str) -> None:
        import git  # it runs git when it is imported, and fails without one

        author = git.Actor("reconciler demo", "demo@localhost")
        repository = git.Repo.init(self._fleet)
        repository.git.add(all=True)
        repository.index.commit(message, author=author, committer=author)
        repository.close()
        _say(f"    $ git commit -m '{message}'")

    def _reconciler(self, *arguments: str, expected: int = OK) -> str:
        shown = shlex.join(arguments)
        _say(f"    $ reconciler {shown}")
        command = [sys.executable, "-m", "reconciler", *arguments]
        result = subprocess.run(
            command, cwd=self._fleet, env=self._environment(), stdout=subprocess.PIPE, encoding="utf-8", check=False
        )
        _say(indent(result.stdout, "      ").rstrip())
        if result.returncode != expected:
            raise PermanentError(f"`reconciler {shown}` ended with {result.returncode}, not {expected}")
        return result.stdout

    def _environment(self) -> dict[str, str]:
        """Without the settings of this machine (RECONCILER_PATH, RECONCILER_REPO), which the demo must not use."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
        return others | {
            "RECONCILER_CONFIG": "",
            "RECONCILER_ROOT": os.path.join(self._folder, "state"),
            "RECONCILER_CACHE": os.path.join(self._folder, "foundry-cache"),
            "PYTHONPATH": os.pathsep.join(filter(None, (IMPORT_ROOT, os.environ.get("PYTHONPATH", "")))),
        }


def share_folder() -> str:
    """The example model and manifests: in the package when installed, else at the top of the checkout."""
    for folder in (os.path.join(PACKAGE, "share"), IMPORT_ROOT):
        if os.path.isdir(os.path.join(folder, "examples", "capitals", "model")):
            return folder
    raise PermanentError("the example model is not installed", hint="reinstall foundry-reconciler")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
