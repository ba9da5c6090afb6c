"""Where this program's files belong on this system, for this user; where the package itself lies, and what installs
more of it; which versions of others are installed.

On Linux $XDG_CONFIG_HOME/reconciler and /etc/reconciler hold the configuration,
$XDG_STATE_HOME/reconciler the state, /var/lib/reconciler that of root. On Windows %PROGRAMDATA% and %LOCALAPPDATA% do.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, distributions, version
from typing import Any
from urllib.parse import urlsplit

from platformdirs import PlatformDirs

import reconciler
from reconciler.host.system import user_id

NAME = "reconciler"
PROJECT = "foundry-reconciler"
CONFIG = "config.yaml"
# The package's own folder, and the one that holds it: the top of a checkout, or site-packages.
PACKAGE = os.path.dirname(os.path.abspath(reconciler.__file__))
IMPORT_ROOT = os.path.dirname(PACKAGE)


def home() -> str:
    """ "" when this user has none."""
    found = os.path.expanduser("~")
    return found if os.path.isabs(found) else ""


def state_folder() -> str:
    """Of store, served folders and records; root's belongs to the machine."""
    return PlatformDirs(NAME, appauthor=False, use_site_for_root=True).user_state_dir


def config_files() -> list[str]:
    """In the order in which they are looked for. Root, and everybody on Windows, reads the machine's only."""
    dirs = PlatformDirs(NAME, appauthor=False)
    # Not platformdirs' site folder on Linux: that is /etc/xdg.
    system = dirs.site_config_dir if sys.platform in ("win32", "darwin") else os.path.join("/etc", NAME)
    own = [] if sys.platform == "win32" or user_id() == 0 else [dirs.user_config_dir]
    return [os.path.join(folder, CONFIG) for folder in (*own, system)]


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """By package, of those that are installed. None of them is imported."""
    found: dict[str, str] = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def version_in(folder: str, package: str) -> str:
    """Of a package that `pip install --target` has put into a folder; "" where it has not."""
    return next((one.version for one in distributions(name=package, path=[folder])), "")


def install_command(extra: str) -> str:
    """What adds an extra of ours to this environment, from where this installation came: a repository, a folder, a file
    or an address, which pip wrote down beside the package (direct_url.json, PEP 610). An index, where that is not
    known, or is no longer there."""
    from urllib.request import url2pathname  # brings http and ssl, and this module is in every process

    origin: dict[str, Any] = {}
    with contextlib.suppress(PackageNotFoundError, ValueError):
        origin = json.loads(distribution(PROJECT).read_text("direct_url.json") or "{}")
    url, repository = str(origin.get("url", "")), origin.get("vcs_info", {})
    named = f"{PROJECT}[{extra}]"
    if repository:
        version = repository.get("requested_revision") or repository.get("commit_id", "")
        below = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
        return f'pip install "{named} @ {repository.get("vcs")}+{url}@{version}{below}"'
    if not url.startswith("file:"):
        return f'pip install "{named} @ {url}"' if url else f'pip install "{named}"'
    parts = urlsplit(url)
    path = url2pathname(f"//{parts.netloc}{parts.path}" if parts.netloc else parts.path)
    if not os.path.exists(path):  # such as a wheel that was let go when it was installed
        return f'pip install "{named}"'
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f'pip install {editable}"{path}[{extra}]"'
