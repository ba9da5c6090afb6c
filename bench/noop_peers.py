"""Nothing to do, over 100 models of 1 MB: what does it cost each tool to find that out?

A peer gets a folder of sources and brings a folder of copies to the same content, once; then the second, idle
run is timed. It is set up as its own manual says, without tricks. Peers that are not installed are named and
left out. What they detect differs: make and ninja trust times, so they do not see an edited copy; git,
terraform, dvc and sha256sum do, and so does reconciler, which also looks at Foundry Local's catalog.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.side_by_side import Contender, bare_python, compare, report
from bench.world import one_source_many_models

Prepare = Callable[[Path, list[str]], list[str]]


def git(directory: Path, names: list[str]) -> list[str]:
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "models"]):
        subprocess.run(["git", *command], cwd=directory, check=True)
    return ["git", "status", "--porcelain"]


def rsync(directory: Path, names: list[str]) -> list[str]:
    return ["rsync", "--archive", "--delete", "source/", "copy/"]


def make(directory: Path, names: list[str]) -> list[str]:
    copies = " ".join(f"copy/{name}" for name in names)
    (directory / "copy").mkdir()
    (directory / "Makefile").write_text(f"all: {copies}\ncopy/%: source/%\n\tcp $< $@\n")
    return ["make", "-s"]


def ninja(directory: Path, names: list[str]) -> list[str]:
    edges = "".join(f"build copy/{name}: cp source/{name}\n" for name in names)
    (directory / "build.ninja").write_text(f"rule cp\n  command = cp $in $out\n{edges}")
    return ["ninja", "--quiet"]


def terraform(directory: Path, names: list[str]) -> list[str]:
    """With the resource that is built in: providers would come from a registry."""
    resource = {
        "for_each": '${fileset("${path.module}/source", "*")}',
        "triggers_replace": '${filesha256("${path.module}/source/${each.value}")}',
    }
    configuration = {"resource": {"terraform_data": {"model": resource}}}
    (directory / "main.tf.json").write_text(json.dumps(configuration))
    subprocess.run(["terraform", "init", "-input=false"], cwd=directory, check=True, capture_output=True)
    return ["terraform", "apply", "-auto-approve", "-input=false"]


def ansible_pull(directory: Path, names: list[str]) -> list[str]:
    """One recursive copy on the target, which is its fast way: without `remote_src` each file is a round trip."""
    copy = {"copy": {"src": f"{directory}/checkout/source/", "dest": f"{directory}/copy/", "remote_src": True}}
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [copy]}]
    (directory / "local.yml").write_text(json.dumps(play))
    git(directory, names)
    return ["ansible-pull", "--url", str(directory), "--directory", f"{directory}/checkout", "local.yml"]


def dvc(directory: Path, names: list[str]) -> list[str]:
    for command in (["init", "-q", "--no-scm"], ["add", "-q", "source"]):
        subprocess.run(["dvc", *command], cwd=directory, check=True)
    return ["dvc", "status"]


def doit(directory: Path, names: list[str]) -> list[str]:
    tasks = f"""
def task_copy():
    for name in {names!r}:
        source, copy = f"source/{{name}}", f"copy/{{name}}"
        yield {{"name": name, "actions": [f"cp {{source}} {{copy}}"], "file_dep": [source], "targets": [copy]}}
"""
    (directory / "copy").mkdir()
    (directory / "dodo.py").write_text(tasks)
    return ["doit"]


def sha256sum(directory: Path, names: list[str]) -> list[str]:
    sums = subprocess.run(
        ["sha256sum", *(f"source/{name}" for name in names)], cwd=directory, check=True, capture_output=True
    )
    (directory / "sums").write_bytes(sums.stdout)
    return ["sha256sum", "--check", "--quiet", "sums"]


PEERS: dict[str, Prepare] = {
    "git": git,
    "rsync": rsync,
    "make": make,
    "ninja": ninja,
    "terraform": terraform,
    "ansible-pull": ansible_pull,
    "dvc": dvc,
    "doit": doit,
    "sha256sum": sha256sum,
}


def peer(name: str, directory: Path, count: int) -> Contender:
    """Set up and brought to rest once, ready for its idle run."""
    (directory / "source").mkdir(parents=True)
    names = [f"model-{number:03}" for number in range(count)]
    for model in names:
        (directory / "source" / model).write_bytes(os.urandom(1 << 20))
    contender = Contender(name=name, command=PEERS[name](directory, names), directory=directory)
    print(f"{name}: {contender.run():.1f} s for the first run")
    return contender


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as scratch:
        directory = Path(scratch)
        contenders = [bare_python(directory)]
        for name in PEERS:
            if shutil.which(name):
                contenders.append(peer(name, directory / name, arguments.models))
            else:
                print(f"{name}: not installed, left out")
        world = one_source_many_models(directory / "world", arguments.models)
        apply = world.reconciler("apply", "--quiet")
        print(f"reconciler: {apply.run():.1f} s for the first run")
        idle = replace(apply, name="reconciler apply")
        contenders += [world.reconciler("plan", "--detailed-exitcode"), idle]
        report(f"noop over {arguments.models} models", compare(contenders, arguments.rounds), contenders[0].name)


if __name__ == "__main__":
    main()
