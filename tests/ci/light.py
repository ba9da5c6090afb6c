"""What `pip install foundry-reconciler` brings without extras: a folder for PYTHONPATH, made without network."""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.ci.steps import CHECKOUT

# pip asks no index: what it would have brought lies in the folder. `hatchling` builds our wheel, also without network.
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it the wrong way round: 0 means no isolation
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "VIRTUALENV_NO_PERIODIC_UPDATE": "1",
}


def light_packages(folder: Path) -> dict[str, str]:
    """The environment in which pip and Python find these packages."""
    folder.mkdir()
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    for name in _closure([*project["dependencies"], "hatchling", "editables"]):
        for top in tops(metadata.distribution(name)):
            if not (folder / top.name).exists():
                (folder / top.name).symlink_to(top)
    return OFFLINE | {"PYTHONPATH": str(folder)}


def _closure(requirements: list[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = requirement.name.lower()
        is_needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if is_needed and name not in found:
            found.add(name)
            waiting += metadata.distribution(name).requires or []
    return found


def tops(distribution: metadata.Distribution) -> set[Path]:
    """The folders and modules of a distribution, in its site-packages; its scripts lie elsewhere."""
    tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}
    return {Path(str(distribution.locate_file(top))) for top in tops if top != "__pycache__"}
