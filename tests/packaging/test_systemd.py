"""What systemd itself says about the units, in a staged tree, and what they promise about ending and starting again."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli.exit_codes import USAGE

PACKAGING = Path(__file__).parents[2] / "packaging"
UNIT = PACKAGING / "systemd" / "reconciler.service"
USER_UNIT = PACKAGING / "systemd" / "reconciler.user.service"
DROP_IN = PACKAGING / "systemd" / "10-repository.conf"

MOST_EXPOSED = 30  # tenths: what systemd-analyze calls OK ends at 4.9; a unit without any hardening has 9.6
GRACE = 10  # seconds in which `reconciler run` has ended after SIGTERM

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if line[:1].isalpha():
            name, _, said = line.partition("=")
            found.setdefault(name, []).append(said)
    return found


def seconds(said: str) -> int:
    return int(said.removesuffix("s"))


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """A root with what the units name and systemd's own units."""
    for name in ("opt/reconciler/bin/reconciler", "bin/kill"):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    units = tmp_path / "etc" / "systemd" / "system"
    drop_ins = units / "reconciler.service.d"
    drop_ins.mkdir(parents=True)
    shutil.copy(UNIT, units)
    shutil.copy(DROP_IN, drop_ins)
    for folder in ("lib/systemd/system", "usr/lib/systemd/system"):
        if Path("/", folder).is_dir():
            (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(Path("/", folder), tmp_path / folder, symlinks=True)
    return tmp_path


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def verify(root: Path) -> str:
    said = analyze("verify", "--man=no", f"--root={root}", "reconciler.service")
    return "\n".join(line for line in said.splitlines() if "reconciler" in line)


@needs_systemd
def test_systemd_understands_every_word_of_the_unit_and_its_drop_in(staged: Path) -> None:
    assert verify(staged) == ""


@needs_systemd
@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("reconciler.service", "ProtectSytem=strict", "Unknown key"),
        ("reconciler.service", "WatchdogSec=often", "Failed to parse"),
        ("reconciler.service.d/10-repository.conf", "LoadCredentail=a:b", "Unknown key"),
        ("reconciler.service", "ExecStartPre=/no/such/program", "not executable"),
    ],
)
def test_systemd_would_have_told_us(staged: Path, file: str, line: str, complaint: str) -> None:
    with (staged / "etc/systemd/system" / file).open("a") as unit:
        unit.write(f"[Service]\n{line}\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={staged}", "reconciler.service"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert complaint in done.stderr


@needs_systemd
def test_the_unit_exposes_little() -> None:
    analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(UNIT))


@needs_systemd
def test_systemd_understands_every_word_of_the_unit_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / ".local" / "bin" / "reconciler"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = shutil.copy(USER_UNIT, tmp_path / "reconciler.service")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    said = analyze("verify", "--user", "--man=no", str(unit))
    assert [line for line in said.splitlines() if "reconciler" in line] == []


@pytest.mark.parametrize("unit", [UNIT, USER_UNIT], ids=["system", "user"])
def test_it_is_given_the_time_it_promises_to_need(unit: Path) -> None:
    said = settings(unit)
    assert said["Type"] == ["notify"]
    assert said["KillMode"] == ["mixed"]
    assert seconds(said["TimeoutStopSec"][0]) >= 2 * GRACE
    assert seconds(said["WatchdogSec"][0]) > 0
    assert said["ExecStart"][0].endswith("/reconciler run")


@pytest.mark.parametrize("unit", [UNIT, USER_UNIT], ids=["system", "user"])
def test_wrong_usage_is_not_started_again(unit: Path) -> None:
    assert settings(unit)["RestartPreventExitStatus"] == [str(USAGE)]
    assert settings(unit)["Restart"] == ["on-failure"]


@pytest.mark.parametrize("unit", [UNIT, USER_UNIT, DROP_IN], ids=["system", "user", "repository"])
def test_no_secret_stands_in_an_environment(unit: Path) -> None:
    assert [said for said in settings(unit).get("Environment", []) if "TOKEN=" in said or "SECRET=" in said] == []


@pytest.mark.parametrize("name", ["sysusers.d", "tmpfiles.d"])
def test_systemd_accepts_the_user_and_the_folders(name: str, tmp_path: Path) -> None:
    """Both tools really do it, below another root; the second needs the user that the first made."""
    if shutil.which("systemd-sysusers") is None or shutil.which("systemd-tmpfiles") is None:
        pytest.skip("systemd-sysusers and systemd-tmpfiles are not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root: files of another user are made")
    (tmp_path / "etc").mkdir()
    for tool, more in (("sysusers", ()), ("tmpfiles", ("--create",))):
        subprocess.run(
            [f"systemd-{tool}", *more, f"--root={tmp_path}", str(PACKAGING / f"{tool}.d" / "reconciler.conf")],
            capture_output=True,
            check=True,
            timeout=60,
        )
    if name == "sysusers.d":
        assert "reconciler:x:" in (tmp_path / "etc" / "passwd").read_text()
        return
    state = tmp_path / "var" / "lib" / "reconciler"
    lock = state / "foundry" / "foundry.local.modelinfo.lock"
    assert (state.stat().st_mode & 0o7777, lock.stat().st_mode & 0o7777) == (0o750, 0o660)
    assert (state / "foundry").stat().st_mode & 0o7777 == 0o2750
    assert lock.stat().st_uid == state.stat().st_uid != 0


def test_the_runtime_really_needs_memory_that_is_written_and_run() -> None:
    """The reason for MemoryDenyWriteExecute=no, under what that setting is. Once this fails, the unit can say yes."""
    pytest.importorskip("cffi")
    code = (
        "import ctypes, sys\n"
        "refused = ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN\n"
        "if refused: sys.exit(77)\n"
        "import cffi\n"
        "cffi.FFI().callback('int(int)', lambda n: n)\n"
    )
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("Linux on 64 bits only")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3 and newer)")
    assert "Cannot allocate write+execute memory" in done.stderr
    assert settings(UNIT)["MemoryDenyWriteExecute"] == ["no"]
