"""A throw-away machine for tests: manifests, a root, a Foundry cache, and the command as a child process."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import forked
from tests.canaries import printed

REPOSITORY = Path(__file__).parent.parent

MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata:
  name: {name}
spec:
  source: {{path: {source}}}
  precisions: [{precisions}]
  promptTemplate: {template}
{more}"""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class TestMachine:
    """Paths below one temporary folder. `run` is the command line as a user has it."""

    __test__ = False
    folder: Path

    @property
    def manifests(self) -> Path:
        return self.folder / "fleet" / "manifests"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def declare(
        self,
        name: str = "capitals",
        *,
        precisions: str = "int4",
        source: str = "../model",
        template: str = "chatml",
        more: str = "",
    ) -> Path:
        """Write (or rewrite) one Model manifest."""
        self.manifests.mkdir(parents=True, exist_ok=True)
        text = MODEL.format(name=name, source=source, precisions=precisions, template=template, more=more)
        path = self.manifests / f"{name}.yaml"
        put(path, text)
        return path

    def give_model(self, source: Path, name: str = "model") -> Path:
        """Copy a model folder beside the manifests."""
        target = self.folder / "fleet" / name
        shutil.copytree(source, target)
        return target

    def run(self, *arguments: str, timeout: float = 300.0, **environment: str) -> Done:
        given = os.environ | self.environment() | environment
        if forked.can_fork(given):
            result = forked.run(arguments, self.folder / "fleet", given, timeout)
        else:
            result = subprocess.run(
                [sys.executable, "-m", "reconciler", *arguments],
                cwd=self.folder / "fleet",
                env=given,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=timeout,
                check=False,
            )
        printed(result.stdout + result.stderr, " ".join(arguments))
        return Done(code=result.returncode, out=result.stdout, err=result.stderr)

    def environment(self) -> dict[str, str]:
        return {"RECONCILER_ROOT": str(self.root), "RECONCILER_CACHE": str(self.cache), "PYTHONPATH": str(REPOSITORY)}

    def plan(self) -> list[str]:
        """`action reason variant` of every change that a plan shows."""
        done = self.run("plan", "-o", "json")
        assert done.code in (0, 1), done.err
        return [f"{c['action']} {c['reason']} {c['variant']}".rstrip() for c in done.json()["changes"]]

    def index(self) -> dict[str, Any]:
        """Foundry's own index file: id -> entry."""
        path = self.cache / "foundry.local.modelinfo.json"
        if not path.exists():
            return {}
        return {m["model_info"]["id"]: m for m in json.loads(path.read_text())["models"]}

    def served(self, variant: str) -> Path:
        """The folder of the newest release of a variant."""
        folders = sorted((self.root / "served" / variant).iterdir(), key=lambda p: int(p.name))
        return folders[-1]


def put(path: Path, text: str | bytes) -> None:
    """At once, as git does: whoever looks meanwhile sees the old file or the new one, and none half written."""
    new = path.with_name(f".{path.name}.tmp")
    new.write_bytes(text.encode() if isinstance(text, str) else text)
    os.replace(new, path)


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file below a folder with size, mtime and inode: equal trees were not written to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found
