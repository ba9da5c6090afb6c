"""What a verb costs from nothing to exit, beside a bare interpreter, with 100 converged models."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.side_by_side import bare_python, compare, report
from bench.world import one_source_many_models

PROMISED = {"reconciler --help": 2.5, "reconciler plan": 6.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as directory:
        world = one_source_many_models(Path(directory), arguments.models)
        print(f"apply over {arguments.models} models: {world.reconciler('apply', '--quiet').run():.1f} s")
        plan = world.reconciler("plan", "--detailed-exitcode")  # exits 2, and so ends here, if not converged
        verbs = [world.reconciler("--help"), world.reconciler("validate"), world.reconciler("status"), plan]
        bare = bare_python(world.directory)
        again = replace(world.reconciler("apply", "--quiet"), name="reconciler apply (nothing to do)")
        report("startup", compare([bare, *verbs, again], arguments.rounds), bare.name, PROMISED)


if __name__ == "__main__":
    main()
