"""An odd environment changes nothing: what a converged machine says and does is the same in each."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.operations.verify import verify
from tests.at_rest import opened
from tests.machine import REPOSITORY, TestMachine, tree
from tests.trust import FULL

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="umask, locale and signals as on Linux")

Environment = dict[str, str]


def nothing(env: Environment, _: Path) -> None:
    """What the others are compared with."""


def no_home(env: Environment, _: Path) -> None:
    for name in ("HOME", "USERPROFILE", "XDG_CONFIG_HOME"):
        env.pop(name, None)


def git_of_another(env: Environment, folder: Path) -> None:
    env |= {"GIT_DIR": str(folder / "nowhere"), "GIT_WORK_TREE": "/", "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": f"touch {folder}/ran"}  # fmt: skip


def python_of_another(env: Environment, folder: Path) -> None:
    """The operator's own interpreter obeys it, as any Python program's; workers must not."""
    (folder / "path").mkdir(exist_ok=True)
    (folder / "path" / "torch.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n")
    env["PYTHONPATH"] = f"{REPOSITORY}{os.pathsep}{folder / 'path'}"
    env["PYTHONSTARTUP"] = str(folder / "path" / "torch.py")


def no_locale(env: Environment, _: Path) -> None:
    env |= {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def temporary_files_elsewhere(env: Environment, folder: Path) -> None:
    """On another file system, where there is one."""
    usual, device = tempfile.gettempdir(), folder.stat().st_dev
    there = (one for one in ("/dev/shm", usual) if os.access(one, os.W_OK) and os.stat(one).st_dev != device)
    env["TMPDIR"] = next(there, usual)


def temporary_files_nowhere(env: Environment, folder: Path) -> None:
    env["TMPDIR"] = str(folder / "nowhere")


ODD: dict[str, Callable[[Environment, Path], object]] = {
    "as always": nothing,
    "HOME unset": no_home,
    "GIT_DIR set": git_of_another,
    "PYTHONPATH set": python_of_another,
    "no UTF-8 locale": no_locale,
    "TMPDIR on another file system": temporary_files_elsewhere,
    "TMPDIR that is not there": temporary_files_nowhere,
}


def all_at_once(env: Environment, folder: Path) -> None:
    """What does not exclude another. Where it fails, `make trust` says by which."""
    for change in (no_home, git_of_another, python_of_another, no_locale, temporary_files_elsewhere):
        change(env, folder)


TRIED = ODD if FULL else {
    "as always": nothing, "all at once": all_at_once, "TMPDIR that is not there": temporary_files_nowhere,
}  # fmt: skip


# One process for the three: that it starts and imports at all is most of what such an environment decides.
COMMANDS = """
import runpy, sys
for words in sys.argv[1:]:
    sys.argv = ["reconciler", *words.split()]
    try:
        runpy.run_module("reconciler", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        print(f"\\n--- {ended.code or 0}", flush=True)
"""


def ask(machine: TestMachine, *commands: str, change: Callable[[Environment, Path], object]) -> list[str]:
    """What each printed, ending well."""
    env = os.environ | machine.environment()
    change(env, machine.folder)
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, *commands], cwd=machine.folder / "fleet", env=env, umask=0,
        capture_output=True, text=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    *printed, rest = done.stdout.split("\n--- 0\n")
    assert (len(printed), rest) == (len(commands), ""), done.stdout
    return printed


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_plan_status_and_apply_are_as_always_and_umask_000_opens_nothing(machine: TestMachine, name: str) -> None:
    before = tree(machine.root / "served")
    plan, status, _ = ask(machine, "plan -o json", "status -o json", "apply --quiet", change=TRIED[name])
    assert json.loads(plan)["changes"] == []
    assert "capitals-int4:1" in status
    assert tree(machine.root / "served") == before
    assert not (machine.folder / "ran").exists()
    assert verify(opened(machine)) == ()
    open_to_all = [path for path in machine.root.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o002]
    assert open_to_all == []


@pytest.mark.slow
def test_the_daemon_runs_in_all_of_them_at_once(machine: TestMachine) -> None:
    env = os.environ | machine.environment()
    for change in (no_home, git_of_another, no_locale, temporary_files_elsewhere):
        change(env, machine.folder)
    command = [sys.executable, "-m", "reconciler", "run", "--listen", "off", "--interval", "60s"]
    with subprocess.Popen(
        command, cwd=machine.folder / "fleet", env=env, umask=0, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as daemon:
        assert daemon.stderr is not None
        said = b""
        for line in daemon.stderr:
            said += line
            if b"pass.summary" in line:
                break
        daemon.send_signal(signal.SIGTERM)
        said += daemon.stderr.read()
        assert daemon.wait(60) == 0, said
    assert b'"converged": true' in said
    assert b"Traceback" not in said
    assert not (machine.folder / "ran").exists()
    assert [path for path in machine.root.rglob("*") if path.stat().st_mode & 0o002] == []
