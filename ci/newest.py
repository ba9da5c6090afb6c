"""The suite with the newest versions that pyproject.toml allows: `python -m ci.newest VENV [PYTEST ARGUMENT...]`.

It names what differs from the lock (name: locked -> newest), runs the tests with all of it, and then the failed ones
with the locked versions and with one newer package at a time: so it says which dependency broke what. VENV is made
where it is missing, and kept for the next time. The exit code is that of the first run.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = [ROOT / "requirements" / name for name in ("all.txt", "dev.txt")]
TORCH = ROOT / "requirements" / "torch.txt"
COMPILE = [
    *(sys.executable, "-m", "uv", "pip", "compile", str(ROOT / "pyproject.toml"), "--all-extras", "--quiet"),
    *("--python", sys.executable, "--excludes", str(ROOT / "requirements" / "torch.exclude")),
    *("--no-emit-package", "torch", "--no-annotate", "--no-header", "--no-strip-extras"),
]
PARALLEL = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder"]

Pins = dict[str, str]  # version by name


def main(folder: str, arguments: list[str]) -> int:
    locked = {name: version for lock in LOCKS for name, version in read_pins(lock.read_text()).items()}
    newer = beyond(locked, resolve(locked, "--upgrade"))
    if not newer:
        print("every dependency is locked at the newest version that pyproject.toml allows: `make test` tests it")
        return 0
    print("newer than the lock:", *(f"  {line}" for line in described(newer, locked)), sep="\n", flush=True)
    venv = Venv(Path(folder))
    venv.install_lock()
    venv.install(newer)
    code, failed = venv.test(arguments)
    if failed:
        blame(venv, locked, newer, failed)
    return code


def blame(venv: "Venv", locked: Pins, newer: Pins, failed: list[str]) -> None:
    """Say which of `newer` each failed test fails with, when it alone (and what it requires) is newer."""
    back = {name: locked[name] for name in newer if name in locked}
    venv.install(back)
    _, always = venv.test(failed)
    report("also with the locked versions", always)
    unexplained = [test for test in failed if test not in always]
    told: list[Pins] = []
    for name in newer:
        moved = beyond(locked, resolve(locked, "--upgrade-package", name))
        if not unexplained or not moved or moved in told:
            continue
        told.append(moved)
        venv.install(back | moved)
        _, broken = venv.test(unexplained)
        report(f"with {', '.join(described(moved, locked))} alone", broken)
        failed = [test for test in failed if test not in broken]
    report("only with several of them together", [test for test in failed if test not in always])


def report(when: str, failed: list[str]) -> None:
    if failed:
        print(f"failed {when}:", *(f"  {test}" for test in failed), sep="\n", flush=True)


def described(pins: Pins, locked: Pins) -> list[str]:
    return [f"{name}: {locked.get(name, '(none)')} -> {version}" for name, version in pins.items()]


def read_pins(text: str) -> Pins:
    """What a requirements file pins on this machine."""
    lines = (line.rstrip(" \\") for line in text.splitlines() if line[:1].isalnum())
    return {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in map(Requirement, lines)
        if one.marker is None or one.marker.evaluate()
    }


def resolve(locked: Pins, *upgrade: str) -> Pins:
    """The versions that uv chooses when it may leave the locked ones as `upgrade` says."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "newest.txt"
        output.write_text("".join(f"{name}=={version}\n" for name, version in locked.items()))
        command = [*COMPILE, "--output-file", str(output), *upgrade]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return read_pins(output.read_text())


def beyond(locked: Pins, found: Pins) -> Pins:
    return {name: version for name, version in found.items() if locked.get(name) != version}


class Venv:
    """An environment of its own, so that the one of `make setup` stays as the lock says."""

    def __init__(self, folder: Path) -> None:
        self.python = folder.absolute() / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)

    def install_lock(self) -> None:
        self._pip("--no-deps", "--require-hashes", *(f"-r{lock}" for lock in LOCKS))
        self._pip(*shlex.split(os.environ.get("TORCH_OPTIONS", "")), f"-r{TORCH}")
        self._pip("--no-deps", "--no-build-isolation", "--editable", str(ROOT))

    def install(self, pins: Pins) -> None:
        self._pip("--no-deps", *(f"{name}=={version}" for name, version in pins.items()))

    def test(self, arguments: list[str]) -> tuple[int, list[str]]:
        """pytest's exit code, and which tests failed."""
        with tempfile.TemporaryDirectory() as cache:
            command = [str(self.python), "-m", "pytest", *PARALLEL, "-o", f"cache_dir={cache}", *arguments]
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            found = Path(cache) / "v" / "cache" / "lastfailed"
            return code, sorted(json.loads(found.read_text())) if found.exists() else []

    def _pip(self, *arguments: str) -> None:
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        subprocess.run([*pip, *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
