"""The portable zip for Windows: what decides its bytes and names. It is built and run by `make test-windows`."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from ci.windows_zip import FOLDER, LONGEST, PATHS, contents, launcher, main, write
from ci.winget import IDENTIFIER, manifests

INSTALLER = f"{IDENTIFIER}.installer.yaml"


@pytest.fixture
def installed(tmp_path: Path) -> tuple[Path, Path]:
    """An interpreter and packages, as pip and uv leave them."""
    python, site = tmp_path / "python", tmp_path / "site"
    for path, text in {
        python / "python.exe": "MZ",
        python / "Lib" / "site-packages" / "tests.py": "",
        site / ".lock": "",
        site / "bin" / "tool": "#!/somebody/python",
        site / "some.py": "",
        site / "native" / "some.dll": "MZ",
        site / "native" / "some.pdb": "symbols",
        site
        / "some-1.dist-info"
        / "RECORD": "some.py,sha256=b,2\n../bin/tool,,\nnative/some.pdb,,\nnative/some.dll,,\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return python, site


def test_the_same_files_give_the_same_bytes(installed: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever their times and rights, and in whichever order a disk lists them."""
    first = write(tmp_path / "1.zip", contents(*installed)).read_bytes()
    for path in installed[1].rglob("*.py"):
        path.chmod(0o777)
        os.utime(path, (1e9, 1e9))
    again = dict(reversed(list(contents(*installed).items())))
    assert write(tmp_path / "2.zip", again).read_bytes() == first


def test_nothing_of_the_machine_that_made_it_is_in_it(installed: tuple[Path, Path]) -> None:
    files = contents(*installed)
    assert files.keys() == {
        *("python/python.exe", PATHS, "site-packages/some.py", "site-packages/native/some.dll"),
        *("site-packages/some-1.dist-info/RECORD", "licenses/distlib/LICENSE.txt"),
        *("reconciler.exe", "reconciler-service.xml", "README.txt", "LICENSE"),
    }
    assert files["site-packages/some-1.dist-info/RECORD"] == b"native/some.dll,,\nsome.py,sha256=b,2\n"


def test_winget_and_the_service_find_the_launcher(installed: tuple[Path, Path]) -> None:
    files = contents(*installed)
    described = manifests("1.0", "https://host.example/a.zip", "a1" * 32)[INSTALLER]
    [nested] = described["NestedInstallerFiles"]
    assert nested["RelativeFilePath"].replace("\\", "/").removeprefix(FOLDER) in files
    service = files["reconciler-service.xml"]
    assert isinstance(service, bytes)
    assert b"<executable>%ProgramFiles%\\reconciler\\reconciler.exe</executable>" in service


def test_the_launcher_starts_the_interpreter_beside_it() -> None:
    program = launcher()
    assert program.startswith(b"MZ")
    assert b"\n#!<launcher_dir>\\python\\python.exe\r\n" in b"\n" + program[program.rindex(b"#!") :]
    with zipfile.ZipFile(io.BytesIO(program)) as code:
        assert code.namelist() == ["__main__.py"]
        compile(code.read("__main__.py"), "__main__.py", "exec")


def test_a_name_that_windows_could_not_unpack_is_refused(tmp_path: Path) -> None:
    longest = "n" * (LONGEST - len(FOLDER))
    write(tmp_path / "a.zip", {longest: b""})
    with pytest.raises(ValueError, match=f"more than {LONGEST} letters"):
        write(tmp_path / "a.zip", {longest + "n": b""})


def test_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 64
    assert "usage: python -m ci.windows_zip FOLDER [URL]" in capsys.readouterr().err
