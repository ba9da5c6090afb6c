"""What this machine is: system, architecture, memory, processors and the execution providers that are installed.

Read from the system's own tables; no runtime is imported."""

import os
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice

from reconciler.domain.machine import facts
from reconciler.domain.machine.facts import Facts
from reconciler.domain.targets.execution_providers import PROVIDERS
from reconciler.host import system
from reconciler.host.memory import memory_bytes

_OS = {"win32": "windows", "cygwin": "windows"}
_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "i386": "386"}
_PACKAGES = ("onnxruntime", "onnxruntime_genai", "foundry_local_sdk")
MOST_FILES = 2000  # of one package; they hold some three hundred


def read_facts() -> Facts:
    return Facts(
        os=_os(), arch=_arch(), memory_bytes=memory_bytes(), cpus=os.cpu_count() or 1, execution_providers=_providers()
    )


def serves_only() -> str:
    """Why this machine cannot convert; "" when it can."""
    return facts.serves_only(_os(), _arch())


def host_name() -> str:
    """The machine's own name without its domain."""
    return socket.gethostname().partition(".")[0].lower() or "unnamed"


def cpu_model() -> str:
    """As its maker calls it, which psutil does not know. "" where only another program does."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            line = next(line for line in file if line.startswith(("model name", "Model", "Hardware")))
    except (OSError, StopIteration):
        return os.environ.get("PROCESSOR_IDENTIFIER", "")
    return " ".join(line.partition(":")[2].split())


def load_average() -> float | None:
    """Of the last minute: how many were at work or waiting for a processor. None on Windows, where psutil would give
    zeros for its first seconds."""
    if sys.platform == "win32":
        return None
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _os() -> str:
    return _OS.get(sys.platform, sys.platform)


def _arch() -> str:
    machine = system.machine().lower()
    return _ARCH.get(machine, machine)


def _providers() -> tuple[str, ...]:
    """Those whose library is in a package of ONNX Runtime. That it is there does not say that its device is."""
    found = {one.name for one in PROVIDERS if not one.library}
    for name in _library_names():
        found |= {one.name for one in PROVIDERS if one.library and one.library in name}
    return tuple(sorted(found))


def _library_names() -> Iterator[str]:
    for package in _PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            files = (name.lower() for _, _, names in os.walk(folder) for name in names)
            yield from (name for name in islice(files, MOST_FILES) if name.endswith((".so", ".dll", ".dylib")))
