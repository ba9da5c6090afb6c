"""The examples for builders: their command lines are parsed by the program, their configuration is read by it, and the
numbers of the parts fit together."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.cli import configuration
from reconciler.cli.main import build_parser
from reconciler.operations.build import Shard
from tests.ci.steps import CHECKOUT, read

GITHUB = "examples/ci/github/build.yml"
KUBERNETES = CHECKOUT / "examples/ci/kubernetes/build.yaml"


@pytest.fixture(scope="module")
def pods() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(KUBERNETES.read_text())}


def all_parts(count: int) -> list[Shard]:
    return [Shard(number=number, count=count) for number in range(1, count + 1)]


def test_a_matrix_builds_all_parts() -> None:
    workflow = read(GITHUB)
    assert list(workflow[True]) == ["push"]  # never for a pull request: it has secrets
    job = workflow["jobs"]["build"]
    assert not job["strategy"]["fail-fast"]
    parts = job["strategy"]["matrix"]["part"]
    assert job["env"] == {"PART": "${{ matrix.part }}", "PARTS": "${{ strategy.job-total }}"}
    [line] = [line for step in job["steps"] for line in step.get("run", "").splitlines() if " build " in line]
    assert not any("${{" in step.get("run", "") for step in job["steps"])
    words = shlex.split(line.strip())
    assert words[1] == "build"
    values = [word.replace("$PARTS", str(len(parts))) for word in words[2:]]
    found = [
        build_parser("build").parse_args([value.replace("$PART", str(part)) for value in values]).shard
        for part in parts
    ]
    assert found == all_parts(len(parts))


def test_an_indexed_job_builds_all_parts(pods: dict[str, Any], tmp_path: Path) -> None:
    """The index begins at 0; Kubernetes sets it."""
    job = pods["Job"]["spec"]
    assert job["completionMode"] == "Indexed"
    [container] = job["template"]["spec"]["containers"]
    held = {one["name"]: one["value"] for one in container["env"]}
    assert held["PARTS"] == str(job["completions"])
    shell, *words = container["command"]
    assert shell == "sh"
    stand_in = tmp_path / "reconciler"
    stand_in.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    stand_in.chmod(0o755)
    found = []
    for index in range(job["completions"]):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **held, "JOB_COMPLETION_INDEX": str(index)}
        command = [shell, *words, *container["args"]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        verb, *rest = done.stdout.splitlines()
        assert verb == "build"
        found.append(build_parser("build").parse_args(rest).shard)
    assert found == all_parts(job["completions"])


def test_their_configuration_is_one(pods: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [step] = [one for one in read(GITHUB)["jobs"]["build"]["steps"] if one.get("name") == "configure"]
    text = re.search(r"<< END\n(.*?)END\n", step["run"], re.DOTALL)
    assert text is not None
    filled = text[1].replace("${GITHUB_REPOSITORY_OWNER,,}", "acme").replace("$PART", "1")
    monkeypatch.setattr(configuration, "_loaded", configuration._loaded)
    for config in (filled, pods["ConfigMap"]["data"]["machine.yaml"]):
        path = tmp_path / "machine.yaml"
        path.write_text(config)
        path.chmod(0o600)
        configuration.load(["--config", str(path)])
        assert [one.pushes for one in configuration.traits().registries] == [True]
