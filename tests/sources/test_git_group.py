"""git is started by GitPython, which has options of its own on Windows: `make test-windows` runs this there, too."""

import sys

import pytest

from reconciler.sources.git import runner

ITS_GROUP = "import os; print(os.getpgrp() - os.getpid() if hasattr(os, 'getpgrp') else 0)"


def test_what_gitpython_starts_leads_a_group_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")  # git itself is not needed here
    from git.cmd import Git

    command = [sys.executable, "-c", ITS_GROUP]
    started = Git().execute(command, as_process=True, shell=False, **runner._OWN_GROUP)
    out, _ = started.proc.communicate()  # type: ignore[union-attr]
    assert (started.proc.returncode, out.strip()) == (0, b"0")  # type: ignore[union-attr]
