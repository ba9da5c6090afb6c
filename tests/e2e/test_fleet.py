"""A fleet that converts once. The agent is a virtual environment of its own without torch, Olive and transformers
(tests/agent_environment.py): it follows the same git repository as the builder, pulls, rehearses, serves and answers.

For `make trust`, because both take minutes: five models at two precisions, and many agents at once (bench.fleet_pull).
`make test` has a builder and an edge in tests/e2e/test_build_and_pull.py.
"""

import json
import subprocess
from pathlib import Path

import pytest

from bench import fleet_pull
from tests.agent_environment import agent_environment
from tests.git_server import Repository
from tests.machine import TestMachine
from tests.registry_server import debian_registry, needs_debian_registry
from tests.trust import FULL, NIGHTLY, record

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FULL, reason="for make trust: it takes minutes")]

CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
convert: {convert}
registries: [{{url: "{origin}/models/fleet", role: {role}}}]
"""
MODELS, PRECISIONS = 5, ("int4", "int8")
QUESTIONS = {"What is the capital of Slovenia?": "Ljubljana", "What is the capital of France?": "Paris"}


def config(machine: TestMachine, **fields: str) -> str:
    path = machine.folder / "machine.yaml"
    path.write_text(CONFIG.format(**fields))
    path.chmod(0o600)
    return str(path)


def converted(machine: TestMachine) -> int:
    return (machine.root / "records" / "events.jsonl").read_text().count('"convert.done"')


def test_an_agent_without_what_converts(tmp_path: Path, capitals: Path) -> None:
    python = agent_environment(tmp_path / "environment")
    repository = Repository(tmp_path / "fleet")
    builder, agent = (TestMachine(folder=tmp_path / name) for name in ("builder", "agent"))
    for number in range(MODELS):
        model = repository.folder / f"model-{number}"
        model.mkdir()
        for path in capitals.iterdir():
            (model / path.name).write_bytes(path.read_bytes())
        settings = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(settings | {"_name_or_path": f"capitals-{number}"}))
        text = (Path(__file__).parents[2] / "manifests" / "capitals.yaml").read_text()
        text = text.replace("name: capitals", f"name: capitals-{number}").replace(
            "../examples/capitals/model", f"../model-{number}"
        )
        repository.write(f"manifests/capitals-{number}.yaml", text)
    repository.commit()
    follow = ("--repo", str(repository.folder), "--branch", "main", "--allow-file")
    with debian_registry(tmp_path / "registry") as origin:
        for machine, convert, role in ((builder, "local", "push"), (agent, "registry-only", "pull")):
            machine.folder.mkdir()
            (machine.folder / "fleet").mkdir()
            config(machine, convert=convert, origin=origin, role=role)
        built = builder.run("build", *follow, RECONCILER_CONFIG=str(builder.folder / "machine.yaml"), timeout=900)
        assert built.code == 0, built.err
        environment = agent.environment() | {"RECONCILER_CONFIG": str(agent.folder / "machine.yaml")}

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [python, "-m", "reconciler", *arguments],
                cwd=agent.folder,
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home")} | environment,
                capture_output=True,
                text=True,
                timeout=900,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        run("apply", *follow)
        variants = [f"capitals-{number}-{precision}" for number in range(MODELS) for precision in PRECISIONS]
        assert set(agent.index()) == {f"{variant}:1" for variant in variants}
        right = [
            answer in run("ask", variant, question) for variant in variants for question, answer in QUESTIONS.items()
        ]
    assert all(right)
    assert (converted(builder), converted(agent)) == (len(variants), 0)
    figure = f"{len(variants)} conversions for two machines; {len(right)} of {len(right)} answers right without torch"
    record("fleet", figure, f"{MODELS} models at {len(PRECISIONS)} precisions", part="agent")


def test_many_agents_pull_while_everything_is_done_to_the_registry(tmp_path: Path) -> None:
    needs_debian_registry()
    agents, few = (50, 10) if NIGHTLY else (12, 3)
    fleet = fleet_pull.run(tmp_path, agents=agents, few=few, models=2)
    wrong, first = sum(one.wrong for one in fleet.rounds), fleet.rounds[0]
    template = next(one for one in fleet.rounds if "template" in one.what)
    figure = f"{agents} agents, {len(fleet.rounds)} rounds: {wrong} wrong files served, all converge in the end"
    each = f"{first.down / agents / 1e6:.1f} MB each at first, {template.down / agents / 1e3:.0f} KB for a template"
    record("fleet", figure, f"{each}; at most {first.peak} connections", part="pull")
