"""One command of reconciler in a process of its own, for `bench.fleet_pull`: the real program, with its git mirror,
store, registry client, records and rehearsals. Only Olive and Foundry Local are stood in for (tests.crash.stand_ins),
so that fifty fit on one machine. Weights are made of the build key.
"""

import os
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.cli import options
from reconciler.cli.main import main
from reconciler.domain.release import Recipe
from reconciler.registry import opening, transfer  # imported before a process forks
from tests.crash.stand_ins import StandInConverter, make_runtime

WEIGHTS = "model.onnx.data"
SIZE = 1 << 20
PRELOADED = (opening, transfer)


def weights_of(build_key: str, size: int = SIZE) -> bytes:
    """What a right artifact holds, and no other."""
    return random.Random(build_key).randbytes(size)


class _Converter(StandInConverter):
    def convert(self, recipe: Recipe, source: str, output_dir: str, **more: Any) -> Any:
        super().convert(recipe, source, output_dir, **more)
        with open(os.path.join(output_dir, WEIGHTS), "wb") as file:
            file.write(weights_of(recipe.build_key))


def run(arguments: Sequence[str], environment: Mapping[str, str], folder: str, log: str) -> None:
    """Ends the process with the exit code of the command; what it prints goes to `log`."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    usual = options.pass_options

    def stood_in(*given: Any, **more: Any) -> Any:
        return replace(usual(*given, **more), make_runtime=make_runtime, make_converter=_Converter)

    options.pass_options = stood_in
    sys.exit(main(arguments))
