"""The environment of a child process: where programs lie, and no tokens, proxies or telemetry."""

import os

from reconciler.host.system import PASSES_ON

QUIET = {
    "CI": "1",  # also keeps Foundry Local from writing its telemetry databases
    "OLIVE_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "ORT_TELEMETRY_DISABLED": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "LANG": "C.UTF-8",
    "PYTHONUTF8": "1",
    "PYTHONUNBUFFERED": "1",  # what a killed child wrote last is in its log
}

# OMP_NUM_THREADS limits how many cores a conversion takes.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", *PASSES_ON)


def private_environment(home: str, **more: str) -> dict[str, str]:
    """The whole environment of a child whose home and temporary files lie in the existing folder `home`."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    here = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), home)
    return {**passed_on, **QUIET, **here, **more}
