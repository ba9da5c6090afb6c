"""The whole story under Windows, out of the portable zip: a build that was made here is pulled, rehearsed, served by
the Windows Foundry Local, asked, given another template, rolled back, and the daemon is stopped from its console. The
same digests as here."""

import json
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ci.windows import suit_wine
from ci.windows_zip import PATHS, SITE, build, version
from tests.machine import TestMachine
from tests.registry_server import FakeRegistry
from tests.windows.machine import FOLDER, WindowsMachine

pytestmark = pytest.mark.skipif(not FOLDER, reason="`make test-windows` runs it")

V = "capitals-int4"
QUESTION = "What is the capital of Slovenia?"
CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
convert: {convert}
registries: [{{url: "{origin}/models/tiny", role: {role}}}]
"""


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portable zip, unpacked into a folder whose name has a space and a letter that no code page shares."""
    folder = tmp_path_factory.mktemp("zip")
    target = folder / "Program Files \u0141\u00fc"
    with zipfile.ZipFile(build(Path(FOLDER), folder)) as archive:
        archive.extractall(target)
    return target / "reconciler"


@pytest.fixture(scope="module")
def machines(
    tmp_path_factory: pytest.TempPathFactory, capitals: Path, portable: Path
) -> Iterator[tuple[TestMachine, ...]]:
    """One that builds, and two that only pull: here, and under Windows."""
    folder = tmp_path_factory.mktemp("story")
    builder, here = (TestMachine(folder=folder / name) for name in ("builder", "here"))
    windows = WindowsMachine(folder=folder / "windows", portable=portable)
    with FakeRegistry().running() as registry:
        for machine in (builder, here, windows):
            machine.folder.mkdir()
            machine.give_model(capitals)
            machine.declare()
            convert, role = ("local", "push") if machine is builder else ("registry-only", "pull")
            config = machine.folder / "machine.yaml"
            config.write_text(CONFIG.format(convert=convert, role=role, origin=registry.origin))
            config.chmod(0o600)
        yield builder, here, windows


def run(machine: TestMachine, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    config = {} if isinstance(machine, WindowsMachine) else {"RECONCILER_CONFIG": str(machine.folder / "machine.yaml")}
    done = machine.run(*arguments, **config)
    assert done.code in codes, done.out + done.err
    return done.out


def served(machine: TestMachine) -> dict[str, Any]:
    """What of a variant in use must be equal everywhere."""
    [one] = json.loads(run(machine, "status", "-o", "json"))["variants"]
    return {name: one[name] for name in ("id", "release", "artifact", "sizeBytes")}


def suit(portable: Path) -> None:
    """What Wine lacks (ci/wine). Up to here everything is as a user has it."""
    suit_wine(portable / SITE)
    with (portable / PATHS).open("a") as paths:
        paths.write("import site\n")


def test_the_story(machines: tuple[TestMachine, ...], portable: Path) -> None:
    builder, here, windows = machines
    assert isinstance(windows, WindowsMachine)
    assert windows.launch("--version").out == f"reconciler {version()}\n"
    assert windows.launch("validate").code == 0
    assert windows.launch("validate", "nowhere").code == 64  # the launcher hands the code on
    suit(portable)

    [built] = json.loads(run(builder, "build", "-o", "json"))["builds"]
    assert built["status"] == "pushed"

    [pull, *_] = json.loads(run(windows, "plan", "-o", "json"))["changes"]
    assert pull["action"] == "pull"
    for machine in (here, windows):
        run(machine, "apply")
    assert served(windows) == served(here)
    assert "Ljubljana" in run(windows, "ask", V, QUESTION)

    for machine in (here, windows):
        machine.declare(template="phi3")
        run(machine, "apply")
    assert served(windows) == served(here)
    assert set(windows.index()) == {f"{V}:2"}
    run(windows, "rollback", V)
    assert "Ljubljana" in run(windows, "ask", V, QUESTION)
    run(windows, "verify")

    with windows.start("run", "--listen", "off", "--interval", "1h") as daemon:
        assert daemon.stderr is not None
        said = b""
        for line in daemon.stderr:
            said += line
            if b'"event": "ready"' in line:
                break
        daemon.send_signal(signal.SIGINT)  # Wine hands it to the program as Ctrl-C
        _, rest = daemon.communicate(timeout=30)
    assert (daemon.returncode, b'"event": "stopped"' in rest) == (130, True), said + rest
