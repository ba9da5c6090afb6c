"""`reconciler` and `python -m reconciler`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Ends the process without taking the interpreter apart: whoever opened something has closed it by now, and the
    teardown of what a plan loads costs 10 ms."""
    try:
        from reconciler.cli.main import main as run

        code = run()
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 1
    os._exit(code)


if __name__ == "__main__":
    main()
