"""`reconciler demo` with its commands as forks of this process, in place of new interpreters that import Olive each."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from reconciler.cli.main import main
from reconciler.cli.verbs import demo
from tests import forked


def run(
    command: Sequence[str], *, cwd: str, env: Mapping[str, str], stdout: int, encoding: str, check: bool
) -> SimpleNamespace:
    """As the demo calls `subprocess.run`."""
    program, *options = [sys.executable, "-m", "reconciler"]
    assert (command[0], [*command[1:3]], stdout, check) == (program, options, subprocess.PIPE, False)
    with tempfile.TemporaryFile() as printed:
        code = forked.command_here(command[3:], cwd, env, [printed.fileno(), 2])
        printed.seek(0)
        return SimpleNamespace(returncode=code, stdout=printed.read().decode(encoding))


if __name__ == "__main__":
    replaced: Any = demo
    replaced.subprocess = SimpleNamespace(run=run, PIPE=subprocess.PIPE)
    sys.exit(main())
