"""Where this program's files belong on this system, for this user.

On Linux $XDG_CONFIG_HOME/reconciler and /etc/reconciler hold the configuration,
$XDG_STATE_HOME/reconciler the state, /var/lib/reconciler that of root. On Windows %PROGRAMDATA% and %LOCALAPPDATA% do.
"""

import os
import sys

from platformdirs import PlatformDirs

NAME = "reconciler"
CONFIG = "config.yaml"


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
    own = [] if sys.platform == "win32" or os.geteuid() == 0 else [dirs.user_config_dir]
    return [os.path.join(folder, CONFIG) for folder in (*own, system)]
