"""The definitions for macOS and Windows: read by parsers that we did not write. Neither was ever run."""

import plistlib
from pathlib import Path
from xml.etree import ElementTree

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"
PLIST = PACKAGING / "launchd" / "org.foundry-reconciler.plist"
WINSW = PACKAGING / "windows" / "reconciler.xml"
GRACE = 10  # seconds in which `reconciler run` has ended once it is asked to


def test_launchd_is_given_what_it_can_read() -> None:
    agent = plistlib.loads(PLIST.read_bytes())
    assert f"{agent['Label']}.plist" == PLIST.name
    assert agent["ProgramArguments"][1:] == ["run"]
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ExitTimeOut"] >= 2 * GRACE


def test_launchd_is_given_whole_paths() -> None:
    """It expands neither ~ nor variables."""
    agent = plistlib.loads(PLIST.read_bytes())
    paths = [agent["ProgramArguments"][0], agent["WorkingDirectory"], agent["StandardErrorPath"]]
    assert [path for path in paths if not path.startswith("/") or "$" in path or "~" in path] == []


def test_windows_is_given_a_service_that_starts_again() -> None:
    service = ElementTree.fromstring(WINSW.read_text(encoding="utf-8"))
    assert service.tag == "service"
    assert service.findtext("arguments") == "run"
    failure = service.find("onfailure")
    assert failure is not None
    assert failure.attrib["action"] == "restart"
    assert int(service.findtext("stoptimeout", "0").split()[0]) >= 2 * GRACE


def test_windows_does_not_run_it_as_the_system() -> None:
    service = ElementTree.fromstring(WINSW.read_text(encoding="utf-8"))
    assert service.findtext("serviceaccount/username") == "NT AUTHORITY\\LocalService"


@pytest.mark.parametrize("file", [PLIST, WINSW], ids=["launchd", "windows"])
def test_a_definition_that_was_never_run_says_so(file: Path) -> None:
    assert "never run" in " ".join(file.read_text(encoding="utf-8").split())
