"""The steps of action.yml on a clone like that of actions/checkout; installed from this checkout, without network."""

import ast
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.at_rest import serve
from tests.ci.forked_program import forked_program
from tests.ci.light import light_packages
from tests.ci.steps import CHECKOUT, Ran, Runner, read
from tests.diff.repository import Fleet
from tests.machine import TestMachine
from tests.tiny_models import write_qwen2
from tests.trust import FULL

MARKER = "<!-- reconciler-diff -->"
BAD = "apiVersion: reconciler.foundry/v1alpha1\nkind: Model\nmetadata: {name: bad}\nspec: {precisions: [int5]}\n"


@dataclass(kw_only=True)
class Job:
    """A pull request of somebody, and the runner that looks at it. `clone` holds its merge commit, two commits deep."""

    fleet: Fleet
    folder: Path
    environment: dict[str, str]
    inputs: dict[str, str] = field(default_factory=dict)
    number: str = "7"

    def merge(self) -> Path:
        self.fleet.git("checkout", "-q", "main")
        self.fleet.git("checkout", "-q", "-B", "merged")
        self.fleet.git("merge", "-q", "--no-ff", "-m", "merge", "topic")
        clone = self.folder / "workspace"
        subprocess.run(
            ["git", "clone", "-q", "--depth=2", "--branch=merged", self.fleet.folder.as_uri(), str(clone)],
            check=True,
            capture_output=True,
            timeout=60,
        )
        return clone

    def diff(self, clone: Path, **environment: str) -> Ran:
        runner = Runner(
            action="action.yml",
            folder=self.folder,
            contexts={"github.event.pull_request.number": self.number},
            inputs=self.inputs,
        )
        return runner.step("Diff", cwd=clone, **self.environment | environment)

    @property
    def summary(self) -> str:
        return (self.folder / "runner" / "github_step_summary").read_text()

    @property
    def artifact(self) -> Path:
        return self.folder / "runner" / "reconciler-diff"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment after the step that installs: really run, once."""
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "python"
    python.mkdir()
    light = light_packages(folder / "light")
    # A new environment finds the locked packages in place, so that pip checks their versions and asks for none.
    (python / "python").write_text(
        f'#!/bin/sh\n{sys._base_executable} "$@" || exit\n'
        f'[ "$3" != venv ] || echo {folder / "light"} > "$(echo "$4"/lib/python*/site-packages)/light.pth"\n'
    )
    (python / "python").chmod(0o755)
    runner = Runner(action="action.yml", folder=folder)
    ran = runner.step("Install", cwd=folder, **light, PATH=f"{python}:{os.environ['PATH']}")
    assert ran.code == 0, ran.err
    (added,) = (folder / "runner" / "github_path").read_text().splitlines()
    assert Path(added, "reconciler").is_file()
    return light | {"PATH": f"{added}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the other tests, which are about the script and not about what the step installed."""
    program = forked_program(tmp_path_factory.mktemp("forked") / "bin")
    return {"PATH": f"{program}:{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture
def job(tmp_path: Path, forked: dict[str, str]) -> Job:
    fleet = Fleet(tmp_path / "fleet")
    write_qwen2(fleet.folder / "model", layers=1)  # of kilobytes: each test clones it
    fleet.declare("capitals")
    fleet.commit()
    fleet.git("checkout", "-q", "-b", "topic")
    return Job(fleet=fleet, folder=tmp_path, environment=forked)


def test_a_change_is_shown_and_does_not_fail_the_job(job: Job, installed: dict[str, str]) -> None:
    job.environment = installed
    job.fleet.declare("capitals", precisions="int4, int8")
    job.fleet.commit()
    ran = job.diff(job.merge())
    assert ran.code == 0, ran.err
    assert ran.outputs == {"differs": "true", "folder": str(job.artifact)}
    assert job.summary.startswith(MARKER)
    assert "capitals-int8" in job.summary
    assert (job.artifact / "comment.md").read_text() == job.summary
    assert (job.artifact / "number").read_text() == "7\n"
    assert {path.name for path in job.artifact.iterdir()} == {"comment.md", "number"}


def test_real_machines_are_named_from_their_reports(job: Job, capitals: Path, tmp_path: Path) -> None:
    edge = TestMachine(folder=tmp_path / "edge")
    edge.give_model(capitals)
    edge.declare("capitals")
    serve(edge)
    report = edge.run("inventory", "-o", "json", RECONCILER_CONFIG="")
    assert report.code == 0, report.err
    job.fleet.write("inventories/edge.json", report.out)
    job.fleet.declare("capitals", precisions="int4, int8")
    job.fleet.commit()
    job.inputs["against"] = "inventories"
    ran = job.diff(job.merge())
    assert ran.code == 0, ran.err
    assert report.json()["machine"] in job.summary
    assert "capitals-int8" in job.summary


def test_only_what_the_merge_brings_is_shown(job: Job) -> None:
    """The branch went on since the author began: that is not theirs."""
    job.fleet.write("README.md", "fleet")
    job.fleet.commit()
    job.fleet.git("checkout", "-q", "main")
    job.fleet.declare("other")
    job.fleet.commit()
    ran = job.diff(job.merge())
    assert (ran.code, ran.outputs["differs"]) == (0, "false")


def test_a_bad_manifest_fails_the_job_at_its_line_and_still_leaves_a_comment(
    job: Job, installed: dict[str, str]
) -> None:
    job.environment = installed
    job.fleet.write("manifests/bad.yaml", BAD)
    job.fleet.commit()
    ran = job.diff(job.merge())
    assert ran.code > 1
    assert "::error file=manifests/bad.yaml,line=4" in ran.out
    assert "bad.yaml" in (job.artifact / "comment.md").read_text()
    assert "folder" in ran.outputs
    assert "differs" not in ran.outputs


NAMES = ("path", "base", "head", "against", "source-root")
TEXTS = ("`touch owned`", "'; touch owned; '", "--help", "-o json", "$(touch owned)")
# Every one with what is code to most shells; with the others too where there is time.
INPUTS = (
    [(name, text) for name in NAMES for text in TEXTS]
    if FULL
    else [(name, TEXTS[-1]) for name in NAMES] + [(NAMES[number], TEXTS[number]) for number in (2, 3)]
)


@pytest.fixture
def listed(job: Job) -> Path:
    """A `reconciler` that writes down its arguments, a line a call: what arrives is what the shell made of it."""
    programs, calls = job.folder / "programs", job.folder / "calls"
    programs.mkdir()
    (programs / "reconciler").write_text(
        f"#!{sys.executable} -S\nimport sys\nopen({str(calls)!r}, 'a').write(repr(sys.argv[1:]) + '\\n')\n"
    )
    (programs / "reconciler").chmod(0o755)
    job.environment = job.environment | {"PATH": f"{programs}:{job.environment['PATH']}"}
    return calls


@pytest.mark.parametrize(("name", "text"), sorted(INPUTS))
def test_an_input_is_never_code_nor_an_option(job: Job, listed: Path, name: str, text: str) -> None:
    job.fleet.commit()
    job.inputs = {name: text}
    clone = job.merge()
    ran = job.diff(clone)
    assert not list(job.folder.rglob("owned"))
    if name in ("base", "head"):
        assert (ran.code, listed.exists()) == (2, False)
        assert ran.out.startswith("::error title=reconciler diff::")
        return
    assert ran.code == 0, ran.err
    calls = [ast.literal_eval(line) for line in listed.read_text().splitlines()]
    assert [call.count(f"--{name}={text}") for call in calls] == [1, 1]
    assert {len(call) for call in calls} == {7 if name == "path" else 8}


def test_a_name_in_the_manifests_is_never_code(job: Job) -> None:
    job.fleet.write("manifests/$(touch owned).yaml", BAD.replace("bad", "$(touch owned)"))
    job.fleet.commit()
    job.diff(job.merge())
    assert not list(job.folder.rglob("owned"))


def test_a_commit_that_is_no_merge_is_not_taken_for_a_pull_request(job: Job) -> None:
    job.fleet.declare("more")
    job.fleet.commit()
    ran = job.diff(job.fleet.folder)
    assert ran.code == 2
    assert "::error title=reconciler diff::the head is no merge commit" in ran.out


def test_two_commits_may_be_named(job: Job) -> None:
    job.fleet.declare("more")
    job.fleet.commit()
    job.inputs = {"base": "main", "head": "topic"}
    ran = job.diff(job.fleet.folder)
    assert (ran.code, ran.outputs["differs"]) == (0, "true")


def test_without_a_pull_request_there_is_nothing_to_comment(job: Job) -> None:
    """A push, say: annotations and the summary, no artifact."""
    job.number = ""
    job.fleet.declare("more")
    job.fleet.commit()
    ran = job.diff(job.merge())
    assert ran.outputs == {"differs": "true"}
    assert job.summary.startswith(MARKER)


def test_the_gitlab_job_says_the_same(job: Job) -> None:
    """Its installing is another's address; the rest is run as it stands."""
    described = read("examples/ci/gitlab-ci.yml")["models"]
    job.fleet.declare("more")
    head = job.fleet.commit()
    script = "\n".join(described["script"])
    given = {
        "DIFF_PATH": described["variables"]["DIFF_PATH"],
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": job.fleet.git("rev-parse", "main"),
        "CI_COMMIT_SHA": head,
    }

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=job.fleet.folder,
            env=os.environ | job.environment | given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = run()
    assert done.returncode == 0, done.stderr
    assert "more" in done.stdout
    (shown,) = described["artifacts"]["paths"]
    assert (job.fleet.folder / shown).read_text().startswith(MARKER)
    job.fleet.write("manifests/bad.yaml", BAD)
    given["CI_COMMIT_SHA"] = job.fleet.commit()
    assert run().returncode != 0


@pytest.mark.parametrize(("changed", "code"), [(False, 0), (True, 1)])
def test_the_plain_recipe_ends_as_diff_does(job: Job, changed: bool, code: int) -> None:
    if changed:
        job.fleet.declare("more")
    job.fleet.commit()
    done = subprocess.run(
        ["sh", str(CHECKOUT / "examples/ci/diff.sh"), "main", "topic", str(job.folder / "comment.md")],
        cwd=job.fleet.folder,
        env=os.environ | job.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert (job.folder / "comment.md").read_text().startswith(MARKER)
