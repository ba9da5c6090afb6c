"""The portable zip for Windows x64 that winget's files describe: `python -m ci.windows_zip FOLDER [URL]`.

It holds CPython's embeddable distribution, the wheels that requirements/foundry.txt locks (it serves and does not
convert), reconciler from its own wheel, a launcher and the definition of a service. FOLDER is that of ci/windows.py and
keeps the interpreter; the zip goes to dist/. One checkout gives the same bytes each time. URL is where the zip will
lie: with it winget's files are written, too.
"""

import csv
import io
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

from ci.windows import ROOT, install_wheels, unpack_python, what_serves
from ci.winget import IDENTIFIER
from ci.winget import main as describe

USAGE = "usage: python -m ci.windows_zip FOLDER [URL]"
FOLDER = "reconciler/"
SITE = "site-packages/"
# Its own library, its own packages, and no variable PYTHON... of the machine that it runs on.
PATHS, SEARCHED = "python/python312._pth", "python312.zip\n.\n..\\site-packages\n"
# uv's lock; scripts that name the interpreter of the machine that installed them; what has the longest names, unused.
LEFT_OUT = (".lock", "bin/", "onnxruntime/tools/")
SYMBOLS = ".pdb"  # for debuggers: foundry-local-sdk has 147 MB of them, more than half of all
# Windows' limit for a path, less the folder that winget unpacks into, for a user's name of twenty letters.
LONGEST = 259 - len(
    r"C:\Users\abcdefghijklmnopqrst\AppData\Local\Microsoft\WinGet\Packages"
    rf"\{IDENTIFIER}_Microsoft.Winget.Source_8wekyb3d8bbwe/"
)
LEVEL = 4  # 6 takes twice as long for 2 MB of 76
LAUNCHER = "t64.exe"
STARTED = "import sys\nfrom reconciler.__main__ import main\nsys.exit(main())\n"
SERVICE = "packaging/windows/reconciler-service.xml"
INSTALLED = ("\\Scripts\\reconciler.exe", "\\reconciler.exe")  # in a virtual environment, and here

Files = Mapping[str, Path | bytes]


def build(folder: Path, target: Path) -> Path:
    """The new zip in `target`. `folder` keeps the interpreter."""
    python = unpack_python(folder)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        site = Path(work, "site")
        install_wheels("".join(what_serves().values()), site)
        _add_reconciler(site, Path(work))
        target.mkdir(parents=True, exist_ok=True)
        return write(target / f"reconciler-{version()}-x64.zip", contents(python, site))


def contents(python: Path, site: Path) -> Files:
    """What lies where in the zip, below its one folder."""
    packages = {SITE + name: path for name, path in _files(site)}
    records = {name: _record(path, packages) for name, path in packages.items() if name.endswith(".dist-info/RECORD")}
    return {
        **{f"python/{path.name}": path for path in python.iterdir() if path.is_file()},
        **packages,
        **records,
        PATHS: SEARCHED.encode(),
        "reconciler.exe": launcher(),
        "reconciler-service.xml": (ROOT / SERVICE).read_text(encoding="utf-8").replace(*INSTALLED).encode(),
        "README.txt": ROOT / "packaging" / "windows" / "README.txt",
        "LICENSE": ROOT / "LICENSE",
        "licenses/distlib/LICENSE.txt": _of_distlib("LICENSE.txt"),
    }


def launcher() -> bytes:
    """As pip makes one for each command: distlib's program, what it starts, and what that runs. Only that the
    interpreter is named from where the launcher lies, so that the folder may be anywhere."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), STARTED)
    return _of_distlib(LAUNCHER) + b"#!<launcher_dir>\\python\\python.exe\r\n" + code.getvalue()


def write(archive: Path, files: Files) -> Path:
    """Sorted, without times and rights: nothing of the machine that does it. Raises ValueError for a name that would be
    too long on Windows."""
    if long := [name for name in files if len(FOLDER + name) > LONGEST]:
        raise ValueError(f"names of more than {LONGEST} letters, which winget could not unpack: {', '.join(long)}")
    new = archive.with_suffix(".new")
    with zipfile.ZipFile(new, "w") as out:
        for name in sorted(files):
            entry = zipfile.ZipInfo(FOLDER + name)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 0, 0
            content = files[name]
            out.writestr(entry, content if isinstance(content, bytes) else content.read_bytes(), compresslevel=LEVEL)
    os.replace(new, archive)
    return archive


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _files(site: Path) -> Iterator[tuple[str, Path]]:
    for path in site.rglob("*"):
        name = path.relative_to(site).as_posix()
        if path.is_file() and not name.startswith(LEFT_OUT) and path.suffix != SYMBOLS:
            yield name, path


def _record(record: Path, packages: Files) -> bytes:
    """The list of a package's files, without those that are left out."""
    kept = io.StringIO()
    rows = csv.reader(io.StringIO(record.read_text(encoding="utf-8"), newline=""))
    csv.writer(kept, lineterminator="\n").writerows(sorted(row for row in rows if SITE + row[0] in packages))
    return kept.getvalue().encode()


def _add_reconciler(site: Path, work: Path) -> None:
    hatchling = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(work)]
    subprocess.run(hatchling, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
        wheel.extractall(site)


def _of_distlib(name: str) -> bytes:
    """A file of the package, which the lock pins."""
    [found] = (one for one in distribution("distlib").files or () if one.name == name)
    return found.read_binary()


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        print(f"{__doc__}\n{USAGE}", file=sys.stderr)
        return 0 if arguments in (["--help"], ["-h"]) else 64
    folder, *url = arguments
    dist = ROOT / "dist"
    archive = build(Path(folder).absolute(), dist)
    digest = sha256(archive.read_bytes()).hexdigest()
    print(f"{digest}  {archive.relative_to(ROOT)}  {archive.stat().st_size / 1e6:.1f} MB")
    return describe([version(), *url, digest, str(dist / "winget")]) if url else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
