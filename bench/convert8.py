"""Eight tiny models in one `apply`, beside a shell loop of `olive auto-opt` over the same eight.

The loop only converts; `apply` also checks every candidate in the real runtime, lays it out and registers it.
"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from bench.side_by_side import Contender, Timing, report
from bench.world import World, many_sources

# The loop gets what makes Olive fast, too: without CI=1 each call waits seconds for a telemetry host.
OFFLINE = {"CI": "1", "OLIVE_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
OLIVE = Path(sys.executable).parent / "olive"
APPLY, LOOP = "reconciler apply", "shell loop of olive auto-opt"


def shell_loop(world: World, turn: int) -> Contender:
    olive = shlex.quote(str(OLIVE))
    script = f"""set -e
for model in models/*; do
  {olive} auto-opt --model_name_or_path "$model" --device cpu --provider CPUExecutionProvider \\
    --use_model_builder --precision int4 --output_path "loop-{turn}/$model" --log_level 1 --disable_telemetry
  test -n "$(find "loop-{turn}/$model" -name model.onnx)"   # it exits 0 even when nothing came of it
done"""
    command = ["bash", "-c", script]
    return Contender(name=LOOP, command=command, directory=world.directory, environment=OFFLINE)


def one_round(world: World, turn: int) -> tuple[float, float]:
    """Seconds of apply and of the loop, each from nothing."""
    apply = world.reconciler("apply", "--quiet", root=f"root-{turn}").run()
    return apply, shell_loop(world, turn).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as directory:
        one_round(many_sources(Path(directory), 1), 0)  # fills the page cache and writes .pyc files
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as directory:
        world = many_sources(Path(directory), arguments.models)
        rounds = [one_round(world, turn) for turn in range(arguments.rounds)]
    apply = Timing(name=APPLY, seconds=tuple(ours for ours, _ in rounds))
    loop = Timing(name=LOOP, seconds=tuple(theirs for _, theirs in rounds))
    report(f"convert {arguments.models} models", [loop, apply], loop.name, {apply.name: 1 / 5})
    print(f"\n  apply is {loop.median / apply.median:.1f} times as fast (promised: 5, aim: 10)")


if __name__ == "__main__":
    main()
