"""Passes over a machine at rest, between two marks that a trace of system calls shows."""

import os
import sys

from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.reconciler import Reconciler
from reconciler.sources.manifests import load

MARKS = ("/the-first-pass-begins", "/the-last-pass-ended")


def main(root: str, cache: str, manifests: str, count: int) -> None:
    parsed = load(manifests)
    with (
        locked_machine(root, cache, command="test") as machine,
        Reconciler(machine, Reporter(), Options(), wake=lambda: None) as keeping,
    ):
        keeping.run_pass(parsed)
        os.path.exists(MARKS[0])
        for _ in range(count):
            assert keeping.run_pass(parsed).converged
        os.path.exists(MARKS[1])


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
