"""The definitions for macOS and Windows: read by parsers that we did not write. Neither was ever run."""

import plistlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"
PLIST = PACKAGING / "launchd" / "org.foundry-reconciler.plist"
WINSW = PACKAGING / "windows" / "reconciler-service.xml"
# What WinSW 3 reads, and which values it takes: of docs/xml-config-file.md, docs/logging-and-error-reporting.md and
# XmlServiceConfig.cs in github.com/winsw/winsw at e4cf507. It publishes no schema. Element: (its text, its attributes).
TEXT, FLAG, NUMBER, NOTHING = r"\S.*", "true|false", r"\d+", ""
SPAN = r"\d+ ?(ms|secs?|mins?|hrs?|hours?|days?)"
WINSW_READS: dict[str, tuple[str, dict[str, str]]] = {
    "id": (r"\w+", {}),
    "name": (TEXT, {}),
    "description": (TEXT, {}),
    "executable": (TEXT, {}),
    "arguments": (TEXT, {}),
    "workingdirectory": (TEXT, {}),
    "env": (NOTHING, {"name": r"\w+", "value": TEXT}),
    "serviceaccount": (NOTHING, {}),
    "serviceaccount/username": (TEXT, {}),
    "startmode": ("Automatic|Manual", {}),
    "delayedAutoStart": (FLAG, {}),
    "priority": ("Normal|Idle|High|RealTime|BelowNormal|AboveNormal", {}),  # .NET's ProcessPriorityClass
    "preshutdown": (FLAG, {}),
    "preshutdownTimeout": (SPAN, {}),
    "stoptimeout": (SPAN, {}),
    "onfailure": (NOTHING, {"action": "restart|reboot|none", "delay": SPAN}),
    "resetfailure": (SPAN, {}),
    "logpath": (TEXT, {}),
    "log": (NOTHING, {"mode": "append|reset|none|roll-by-size|roll-by-time|roll-by-size-time"}),
    "log/sizeThreshold": (NUMBER, {}),
    "log/keepFiles": (NUMBER, {}),
}
# What the page does to the folder of a service, in this order: new, ours, closed, empty, and filled only then.
HARDENING = (
    "New-Item -ItemType Directory $data",
    'icacls $data /setowner "*S-1-5-32-544"',
    "icacls $data /inheritance:r /grant:r ",
    "if ($LASTEXITCODE -or (Get-ChildItem $data -Force)) { throw ",
    'New-Item -ItemType Directory "$data\\manifests"',
)
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


def test_windows_is_told_nothing_that_winsw_would_not_read() -> None:
    """It skips in silence what it does not know."""
    service = ElementTree.fromstring(WINSW.read_text(encoding="utf-8"))
    entries = [(path(service, one), one) for one in service.iter() if one is not service]
    assert {where for where, _ in entries} <= WINSW_READS.keys()
    for where, entry in entries:
        value, attributes = WINSW_READS[where]
        assert re.fullmatch(value, (entry.text or "").strip(), re.IGNORECASE), where
        assert entry.attrib.keys() == attributes.keys(), where
        for name, pattern in attributes.items():
            assert re.fullmatch(pattern, entry.attrib[name], re.IGNORECASE), (where, name)
    assert {where for where, _ in entries} >= {"id", "executable"}


def path(service: ElementTree.Element, entry: ElementTree.Element) -> str:
    """As service/log/keepFiles, without the first."""
    above = {child: parent for parent in service.iter() for child in parent}
    names = [entry.tag]
    while (entry := above[entry]) is not service:
        names.insert(0, entry.tag)
    return "/".join(names)


def test_windows_does_not_run_it_as_the_system() -> None:
    service = ElementTree.fromstring(WINSW.read_text(encoding="utf-8"))
    assert service.findtext("serviceaccount/username") == "NT AUTHORITY\\LocalService"


@pytest.mark.parametrize("file", [PLIST, WINSW], ids=["launchd", "windows"])
def test_a_definition_that_was_never_run_says_so(file: Path) -> None:
    assert "never run" in " ".join(file.read_text(encoding="utf-8").split())


def test_nobody_else_can_own_the_folder_of_the_windows_service() -> None:
    """As the page makes it: who owned it before could give himself its rights back, and decide what is trusted. An
    error ends the block, for which pasted lines need one."""
    page = (PACKAGING / "README.md").read_text(encoding="utf-8")
    block = [line.strip() for line in page.split("```\n& {\n")[1].split("\n}\n")[0].splitlines()]
    assert block[0] == '$ErrorActionPreference = "Stop"'
    steps = [block.index(next(line for line in block if line.startswith(beginning))) for beginning in HARDENING]
    assert steps == sorted(steps)
    assert [line for line in block if "-Force" in line and "New-Item" in line] == []
    assert [
        line for line in page.splitlines() if "icacls" in line and line.strip() not in block and "`" not in line
    ] == []
