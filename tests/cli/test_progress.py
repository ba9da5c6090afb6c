"""What is shown on a terminal while it happens."""

import os
import pty
import subprocess
import sys
from pathlib import Path

PUSHES = """
from reconciler.cli.progress import reporter_for
with reporter_for(quiet=False) as reporter, reporter.moving("push phi-int4 to [host]") as moved:
    moved(3 << 20, 8 << 20)
    reporter._progress.refresh()
"""


def test_a_push_tells_how_much_has_gone_on_a_terminal() -> None:
    reading, writing = pty.openpty()
    checkout = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": checkout, "TERM": "xterm", "COLUMNS": "120"}
    subprocess.run([sys.executable, "-c", PUSHES], env=environment, stderr=writing, check=True)
    shown = os.read(reading, 1 << 16).decode()
    for descriptor in (reading, writing):
        os.close(descriptor)
    assert "push phi-int4 to [host]" in shown
    assert "3.0 MiB of 8.0 MiB" in shown
