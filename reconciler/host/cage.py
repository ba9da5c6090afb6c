"""Which cage this machine has for a child that reads foreign files with native code, and how such a child is started.

    bubblewrap      namespaces of its own: no network, no other process, and of the file system only what Python
                    needs, what it is given to read, and one folder to write. Landlock on top, where there is one
    landlock+netns  the same of the file system by Landlock, in each process that reads foreign bytes; no network
    landlock        the same without a network namespace: TCP is closed, UDP may not be
    limits          none of it: memory, time, output and privileges are bounded (`host.confine`), which is no wall

What is tried once in a process is remembered. Whether a cage holds is for the tests to say (test_cage.py).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from reconciler.domain.errors import ReconcilerError
from reconciler.host.confine import landlock_abi
from reconciler.host.places import IMPORT_ROOT

BUBBLEWRAP, LANDLOCK_NETNS, LANDLOCK, LIMITS = "bubblewrap", "landlock+netns", "landlock", "limits"
CLOSED = (BUBBLEWRAP, LANDLOCK_NETNS)  # nothing in but what is given, nothing out but the result
CAGES = (BUBBLEWRAP, LANDLOCK_NETNS, LANDLOCK, LIMITS)
CageMode = Literal["auto", "require", "off"]  # what an operator can ask for: the best, none but a closed one, none
CAGE_MODES: tuple[str, ...] = get_args(CageMode)
ADVICE = (
    "install bubblewrap (0.4 or newer), or allow unprivileged user namespaces; see docs/cage.md"
    if sys.platform.startswith("linux")
    else "convert on Linux, which has cages, and take the artifacts from a registry; or convert only what you trust"
)

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SETTINGS = (  # nothing in /etc that is secret, nothing that names users
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
)
PROCESSORS = "/sys/devices/system"  # how many there are: numeric libraries ask
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SMALL = 16 << 20  # bytes of /tmp: memory that no other limit counts
TRY_SECONDS = 20.0
_LEAVE_NETWORK = (
    "import sys; sys.path.insert(0, sys.argv[1]); from reconciler.host.confine import leave_network; leave_network()"
)


class CageMissing(ReconcilerError):
    """Required, and not available here."""


@dataclass(frozen=True, kw_only=True)
class Cage:
    """`why` a better one is not there."""

    name: str
    why: str = ""

    @property
    def has_landlock(self) -> bool:
        return self.name != LIMITS and landlock_abi() > 0

    @property
    def cuts_network(self) -> bool:
        """Whether the child itself must do that."""
        return self.name == LANDLOCK_NETNS

    def command(self, command: list[str], *, readable: Iterable[str], writable: str) -> list[str]:
        return _wrapped(command, readable, writable) if self.name == BUBBLEWRAP else command


def find(mode: str = "auto") -> Cage:
    """The best that there is, or the one that is named. Raises CageMissing."""
    if mode == "off":
        return Cage(name=LIMITS, why="it is switched off")
    if mode in CAGES:
        return Cage(name=mode)
    found = _best()
    if mode == "require" and found.name not in CLOSED:
        raise CageMissing(f"no cage for the converter here, though one is required: {found.why}", hint=ADVICE)
    return found


@cache
def _best() -> Cage:
    if not sys.platform.startswith("linux"):
        return Cage(name=LIMITS, why="there are no cages on this system")
    no_bubblewrap = bubblewrap_fails()
    if not no_bubblewrap:
        return Cage(name=BUBBLEWRAP)
    if not landlock_abi():
        return Cage(name=LIMITS, why=f"{no_bubblewrap}; this kernel has no Landlock")
    no_netns = netns_fails()
    if no_netns:
        return Cage(name=LANDLOCK, why=f"{no_bubblewrap}; {no_netns}")
    return Cage(name=LANDLOCK_NETNS, why=no_bubblewrap)


@cache
def bubblewrap_fails() -> str:
    """Why it cannot be used; "" when it can. Tried with the very interpreter that it is to hold."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    command = _wrapped([sys.executable, "-I", "-S", "-c", ""], what_python_needs(), "")
    return _try(command, "bubblewrap does not work here")


@cache
def netns_fails() -> str:
    if not sys.platform.startswith("linux"):
        return "there are no network namespaces"
    return _try(
        [sys.executable, "-I", "-S", "-c", _LEAVE_NETWORK, IMPORT_ROOT], "a network namespace of its own is refused"
    )


def _try(command: list[str], what: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=TRY_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{what} ({error})"
    last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return f"{what} ({last[:200]})" if done.returncode else ""


def what_python_needs(*modules: str) -> list[str]:
    """To read: the system's programs and libraries, this interpreter, its packages, and `modules` of a checkout. Not
    the checkout as a whole: a root may lie in it."""
    packages = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    libraries = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if os.path.isabs(path)]
    interpreter = [sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))]
    own = [_package(name) for name in ("reconciler", *modules)]
    return [*SYSTEM, *SETTINGS, PROCESSORS, *interpreter, *packages, *libraries, *own]


def _package(module: str) -> str:
    from importlib.util import find_spec

    spec = find_spec(module.partition(".")[0])
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return os.path.abspath(folders[0]) if folders else ""


def with_what_it_leads_to(folder: str) -> list[str]:
    """A folder to be read, and what links in it name outside."""
    real = os.path.realpath(folder)
    try:
        inside = [os.path.join(real, name) for name in os.listdir(real)]
    except OSError:
        return [real]
    led_to = {os.path.realpath(path) for path in inside if os.path.islink(path)}
    return [folder, real, *sorted(path for path in led_to if not path.startswith(real + os.sep))]


def _wrapped(command: list[str], readable: Iterable[str], writable: str) -> list[str]:
    """A file system of nothing but these, each where it is outside."""
    arguments = ["--unshare-user", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    arguments += ["--cap-drop", "ALL", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]
    arguments += [
        "--ro-bind",
        "/proc/sys",
        "/proc/sys",
    ]  # a user who is root outside may write there without privileges
    arguments += ["--size", str(SMALL), "--tmpfs", "/tmp"]
    for path in sorted({os.path.normpath(one) for one in readable if one}):
        arguments += _bound(path)
    if writable:
        arguments += ["--bind", writable, writable]
    return ["bwrap", *arguments, "--remount-ro", "/dev", "--remount-ro", "/", "--", *command]


def _bound(path: str) -> list[str]:
    if path in SYSTEM and os.path.islink(path):  # /lib is usr/lib today
        return ["--symlink", os.readlink(path), path]
    return ["--ro-bind", path, path] if os.path.exists(path) else []
