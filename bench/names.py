"""What a further name costs: CPU seconds of `apply` and all its children, for models that are declared beside one that
serves already. Nothing is converted: what is measured is assembling, rehearsing, registering and recording.

Promised: at most 0.1 s of CPU a name, for 100 names. Beyond some hundred Foundry Local itself costs most: each of its
registrations reads and writes the whole catalog (docs/decisions/0022).
"""

import argparse
import tempfile
from pathlib import Path

from bench.startup import spent
from bench.world import one_source_many_models

CPU_SECONDS = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=100)
    names = parser.parse_args().names
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as directory:
        world = one_source_many_models(Path(directory), 1)
        apply = world.reconciler("apply", "--quiet")
        apply.run()
        _, idle, _ = spent(apply)
        for number in range(1, names + 1):
            world.declare(f"capitals-{number:03}", "capitals")
        wall, cpu, _ = spent(apply)
    each = (cpu - idle) / names
    print(f"{names} names more: {wall:.1f} s, {cpu:.1f} s of CPU; {each:.3f} s a name (promised {CPU_SECONDS})")
    if each > CPU_SECONDS:
        raise SystemExit("a promise is broken")


if __name__ == "__main__":
    main()
