"""The `run:` steps of our actions and workflows, run with the shell and the environment that a runner gives them."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


def read(name: str) -> Any:
    return yaml.safe_load((CHECKOUT / name).read_text())


@dataclass(frozen=True, kw_only=True)
class Ran:
    code: int
    out: str
    err: str
    outputs: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A composite action on a runner. `contexts` are the values of the expressions that are no inputs."""

    action: str
    folder: Path
    contexts: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def described(self) -> Any:
        return read(self.action)

    @property
    def temporary(self) -> Path:
        return self.folder / "runner"

    def step(self, name: str, *, cwd: Path, **environment: str) -> Ran:
        step = next(s for s in self.described["runs"]["steps"] if s.get("name") == name)
        assert step["shell"] == "bash"
        self.temporary.mkdir(exist_ok=True)
        script = self.temporary / "step.sh"
        script.write_text(step["run"])
        files = {
            variable: self.temporary / variable.lower()
            for variable in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")
        }
        for file in files.values():
            file.touch()
        given = {key: self.resolve(str(text)) for key, text in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=cwd,
            env={key: value for key, value in os.environ.items() if key != "GITHUB_TOKEN"}
            | {
                "RUNNER_TEMP": str(self.temporary),
                "GITHUB_ACTION_PATH": str((CHECKOUT / self.action).parent),
                "GITHUB_WORKSPACE": str(cwd),
                **{variable: str(file) for variable, file in files.items()},
                **given,
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr, outputs=outputs)

    def resolve(self, text: str) -> str:
        """Expressions by name only: what we use of GitHub's language."""
        return _EXPRESSION.sub(lambda match: self._value(match.group(1)), text)

    def _value(self, name: str) -> str:
        if not name.startswith("inputs."):
            return self.contexts[name]
        key = name.removeprefix("inputs.")
        default = str(self.described["inputs"][key].get("default", ""))
        return self.inputs[key] if key in self.inputs else self.resolve(default)
