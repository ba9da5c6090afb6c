"""`reconciler` and `python -m reconciler`."""

from __future__ import annotations

import os
import sys

from reconciler.cli.main import main as run


def main() -> None:
    """Ends the process without taking the interpreter apart: whoever opened something has closed it by now, and the
    teardown of what a plan loads costs 10 ms."""
    code = run()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 1
    os._exit(code)


if __name__ == "__main__":
    main()
