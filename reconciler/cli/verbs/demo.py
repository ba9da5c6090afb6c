"""Convert, serve, ask, repair and prune an example model in a temporary folder. Each step runs the command that a
user would type, as a child process, and checks its output and exit code.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import git

from reconciler.cli.exit_codes import ERROR, OK, PARTLY
from reconciler.domain.errors import PermanentError, UsageError
from reconciler.host.places import IMPORT_ROOT, PACKAGE

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
    folder = _folder(arguments.keep)
    try:
        _Demo(folder).run()
    except PermanentError as error:
        _say(f"\nThe demo failed: {error}\n{error.hint}")
        return ERROR
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    _say(_ENDING)
    if arguments.keep:
        _say(f"The demo's folder is still there: {folder}")
    return OK


def _folder(keep: str | None) -> str:
    if keep is None:
        return tempfile.mkdtemp(prefix="reconciler-demo-")
    if os.path.isdir(keep) and os.listdir(keep):
        raise UsageError(f"{keep} is not empty", hint="name a folder that does not exist yet")
    os.makedirs(keep, exist_ok=True)
    return os.path.abspath(keep)


@dataclass(frozen=True, slots=True)
class _Demo:
    folder: str

    @property
    def fleet(self) -> str:
        """The git repository with the manifests."""
        return os.path.join(self.folder, "fleet")

    @property
    def manifest(self) -> str:
        return os.path.join(self.fleet, "manifests", "capitals.yaml")

    def run(self) -> None:
        self._declare()
        self._serve()
        self._ask("int4", "Ljubljana", "Ask the int4 model, through Foundry Local.")
        self._retemplate()
        self._damage_and_repair()
        self._prune()

    def _declare(self) -> None:
        _step("A git repository that declares one fine-tuned model at two precisions.")
        share = share_folder()
        for name in ("examples/capitals/model", "manifests"):
            shutil.copytree(os.path.join(share, name), os.path.join(self.fleet, name))
        self._commit("declare capitals at int4 and int8")
        with open(self.manifest, encoding="utf-8") as file:
            _say("".join(f"    {line}" for line in file))

    def _serve(self) -> None:
        _step("What would change on this machine, and why? Nothing is touched yet.")
        self._reconciler("plan")
        _step("Apply it: Olive converts and quantizes, the real runtime rehearses, Foundry Local gets the names.")
        self._reconciler("apply")
        self._reconciler("status")
        _step("A second apply finds nothing to do.")
        self._reconciler("apply")

    def _ask(self, precision: str, expected: str, story: str) -> None:
        _step(story)
        answer = self._reconciler("ask", f"capitals-{precision}", QUESTION)
        if expected not in answer:
            raise PermanentError(f"expected an answer with {expected!r}, got {answer.strip()!r}")

    def _retemplate(self) -> None:
        _step("Change the prompt template in git: a new registration of the same weights, nothing is converted.")
        with open(self.manifest, encoding="utf-8") as file:
            text = file.read()
        changed = text.replace("promptTemplate: chatml", "promptTemplate: {ref: brief}")
        if changed == text:
            raise PermanentError("the example manifest does not name the chatml template any more")
        with open(self.manifest, "w", encoding="utf-8") as file:
            file.write(changed)
        self._commit("answer briefly")
        self._reconciler("plan")
        started = time.monotonic()
        self._reconciler("apply")
        _say(f"    (both variants re-templated in {time.monotonic() - started:.1f} s)")
        answer = self._reconciler("ask", "capitals-int4", QUESTION)
        if answer.split() != ["Ljubljana"]:
            raise PermanentError(f"expected the short answer Ljubljana, got {answer.strip()!r}")

    def _damage_and_repair(self) -> None:
        _step("Damage a served file. Foundry Local would not notice before it loads it.")
        served = os.path.join(self.folder, "state", "served", "capitals-int4")
        victim = os.path.join(served, max(os.listdir(served), key=int), "model.onnx.data")
        os.chmod(victim, 0o644)
        with open(victim, "r+b") as file:
            file.truncate(1000)
        _say(f"    $ truncate -s 1000 {os.path.relpath(victim, self.folder)}")
        self._reconciler("plan")
        self._reconciler("apply")
        self._ask("int4", "Ljubljana", "The repaired model answers again.")

    def _prune(self) -> None:
        _step(
            "Delete the manifest. An empty folder is more likely a mistake than intended, so apply holds the prune ..."
        )
        os.unlink(self.manifest)
        _say("    $ git rm manifests/capitals.yaml")
        self._commit("retire capitals")
        self._reconciler("apply", expected=PARTLY)
        _step("... until it is confirmed. Only what this reconciler made is removed.")
        self._reconciler("apply", "--confirm")
        left = os.path.join(self.folder, "state", "served")
        if any(names for _, _, names in os.walk(left)):
            raise PermanentError(f"something is left in {left}")
        self._reconciler("status")

    def _commit(self, message: str) -> None:
        author = git.Actor("reconciler demo", "demo@localhost")
        repository = git.Repo.init(self.fleet)
        repository.git.add(all=True)
        repository.index.commit(message, author=author, committer=author)
        repository.close()
        _say(f"    $ git commit -m '{message}'")

    def _reconciler(self, *arguments: str, expected: int = OK) -> str:
        """Run a command, show what it prints, and check its exit code."""
        shown = " ".join(f'"{a}"' if " " in a else a for a in arguments)
        _say(f"    $ reconciler {shown}")
        result = subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            cwd=self.fleet,
            env=self._environment(),
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            check=False,
        )
        _say("".join(f"      {line}" for line in result.stdout.splitlines(keepends=True)).rstrip())
        if result.returncode != expected:
            raise PermanentError(f"`reconciler {shown}` ended with {result.returncode}, not {expected}")
        return result.stdout

    def _environment(self) -> dict[str, str]:
        """Without the settings of this machine (RECONCILER_PATH, RECONCILER_REPO), which the demo must not use."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
        return others | {
            "RECONCILER_CONFIG": "",
            "RECONCILER_ROOT": os.path.join(self.folder, "state"),
            "RECONCILER_CACHE": os.path.join(self.folder, "foundry-cache"),
            "PYTHONPATH": os.pathsep.join(filter(None, (IMPORT_ROOT, os.environ.get("PYTHONPATH", "")))),
        }


def share_folder() -> str:
    """The example model and manifests: in the package when installed, else at the top of the checkout."""
    for folder in (os.path.join(PACKAGE, "share"), IMPORT_ROOT):
        if os.path.isdir(os.path.join(folder, "examples", "capitals", "model")):
            return folder
    raise PermanentError("the example model is not installed", hint="reinstall foundry-reconciler")


_number = 0


def _step(text: str) -> None:
    global _number  # noqa: PLW0603 - one demo runs in one process
    _number += 1
    _say(f"\n{_number}. {text}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
