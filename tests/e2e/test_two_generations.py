"""One machine that has Foundry Local 2.x and 1.x: a manifest is served in both, and each real client lists and
answers. What one of them lost is found and given back to it, and what is taken out goes from both."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.host.environment import private_environment
from tests.e2e.foundry_web import chat, web_service
from tests.foundry_1 import foundry_1
from tests.machine import TestMachine

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="its packages are pinned for Linux")]

QUESTION, ANSWER = "What is the capital of Slovenia?", "Ljubljana"
CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
runtimes:
  - {{name: foundry-local, cache: {two}}}
  - {{name: foundry-local-1, cache: {one}, sdk: {sdk}}}
"""


def answers_of_1(cache: Path, home: Path) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-P", str(Path(__file__).with_name("client_of_1.py"))]
    command += [foundry_1(), str(cache), str(home), QUESTION]
    environment = private_environment(str(home))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["sdk"] == "1.2.4"
    answers: dict[str, str] = told["answers"]
    return answers


def test_each_generation_serves_the_same_manifests(tmp_path: Path, capitals: Path) -> None:
    machine, cache = TestMachine(folder=tmp_path), tmp_path / "home" / ".foundry" / "cache" / "models"
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(two=machine.cache, one=cache, sdk=foundry_1()))
    machine.give_model(capitals)
    machine.declare(more="  generation: {topK: 1}\n")
    other = cache / "Microsoft" / "other" / "v1"
    other.mkdir(parents=True)
    (other / "weights").write_text("another's")

    def run(*arguments: str, code: int = 0) -> str:
        done = machine.run(*arguments, RECONCILER_CONFIG=str(config))
        assert done.code == code, (done.out, done.err)
        return done.out

    def serving() -> str:
        (variant,) = json.loads(run("status", "-o", "json"))["variants"]
        return next(str(one["message"]) for one in variant["conditions"] if one["type"] == "Serving")

    run("apply")
    assert serving() == "capitals-int4:1 in foundry-local and foundry-local-1"
    of_1 = answers_of_1(cache, tmp_path / "client")
    assert {identity: ANSWER in text for identity, text in of_1.items()} == {"capitals-int4:1": True}
    with web_service(machine.cache, tmp_path / "web", "capitals-int4:1") as url:
        of_2 = chat(url, "capitals-int4:1", [{"role": "user", "content": QUESTION}], temperature=0, max_tokens=16)
    assert of_2["choices"][0]["message"]["content"] == of_1["capitals-int4:1"]

    dropped = cache / "reconciler" / "capitals-int4-1"
    (dropped / "inference_model.json").unlink()
    assert "inference_model.json missing in the cache (foundry-local-1)" in run("drift", code=4)
    registered = machine.index()
    run("apply")
    assert machine.index() == registered
    assert answers_of_1(cache, tmp_path / "client") == of_1
    assert json.loads(run("plan", "-o", "json"))["changes"] == []

    machine.declare(more="  generation: {topK: 2}\n")
    run("apply")
    assert serving() == "capitals-int4:2 in foundry-local and foundry-local-1"
    assert [*machine.index()] == ["capitals-int4:2"]
    assert [*answers_of_1(cache, tmp_path / "client")] == ["capitals-int4:2"]
    assert run("verify") is not None

    (machine.manifests / "capitals.yaml").unlink()
    machine.declare("unserved", more="  suspend: true\n")
    run("apply", "--confirm")
    assert machine.index() == {}
    assert not (cache / "reconciler").exists()
    assert (other / "weights").read_text() == "another's"
