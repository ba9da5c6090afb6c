"""How much CPU does a daemon's pass take that finds nothing to do, over 100 models?

One process, as the daemon: the machine is opened once, and passes follow each other. `load` is what reading the
manifests costs beside it, where the daemon has to look at the folder again.
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from reconciler.cli.main import NEW_OBJECTS
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.reconciler import Reconciler
from reconciler.sources.manifests import ParseCache, load
from tests.at_rest import serve
from tests.machine import TestMachine

MODEL = Path(__file__).parents[1] / "examples" / "capitals" / "model"


def measure(directory: Path, models: int, passes: int) -> dict[str, float]:
    """Milliseconds of CPU, medians."""
    machine = TestMachine(folder=directory)
    machine.give_model(MODEL)
    for number in range(models):
        machine.declare(f"capitals-{number:03}")
    serve(machine)
    with (
        locked_machine(str(machine.root), str(machine.cache), command="bench") as opened,
        Reconciler(opened, Reporter(), Options(), wake=lambda: None) as keeping,
    ):
        cache = ParseCache()
        time.sleep(0.1)  # the stamp of a file that was written just now is not trusted
        parsed = load(str(machine.manifests), cache=cache)
        if not keeping.run_pass(parsed).converged:
            sys.exit("the machine did not come to rest")
        gc.set_threshold(NEW_OBJECTS)  # as the daemon does
        return {
            "pass": _cpu(lambda: keeping.run_pass(parsed), passes),
            "load": _cpu(lambda: load(str(machine.manifests), cache=cache), passes),
        }


def _cpu(act: Callable[[], object], times: int) -> float:
    spent = []
    for _ in range(times):
        started = time.process_time()
        act()
        spent.append((time.process_time() - started) * 1000)
    return round(statistics.median(spent), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--passes", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = measure(Path(directory), arguments.models, arguments.passes)
    print(json.dumps({"models": arguments.models, "unit": "ms of CPU, median", **found}))


if __name__ == "__main__":
    main()
