"""A real repository with manifests and a model, and `diff` under its guard."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import forked
from tests.git_server import Repository
from tests.machine import MODEL, REPOSITORY, Done

GUARD = Path(__file__).parent / "guard.py"


class Fleet(Repository):
    """`declare` writes a manifest, `commit` makes a commit, `diff` compares commits."""

    def give_model(self, source: Path, name: str = "model") -> Path:
        shutil.copytree(source, self.folder / name)
        return self.folder / name

    def declare(
        self, name: str, *, precisions: str = "int4", source: str = "../model", template: str = "chatml", more: str = ""
    ) -> None:
        text = MODEL.format(name=name, source=source, precisions=precisions, template=template, more=more)
        self.write(f"manifests/{name}.yaml", text)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def diff(self, *arguments: str, before: tuple[str, ...] = (), **environment: str) -> Done:
        inherited = os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment
        if before or not forked.can_fork(inherited):
            done = self._in_a_new_process([*before, sys.executable, str(GUARD), "diff", *arguments], inherited)
        else:
            done = forked.run(["diff", *arguments], self.folder, inherited, timeout=120, script=str(GUARD))
        assert done.returncode != 99, done.stderr
        err, _, _ = done.stderr.rstrip().rpartition("\n")
        return Done(code=done.returncode, out=done.stdout, err=err)

    def _in_a_new_process(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    def view(self, *arguments: str) -> Any:
        done = self.diff(*arguments, "-o", "json")
        assert done.out, done.err
        return json.loads(done.out)
