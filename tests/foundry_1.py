"""The packages of foundry-local-sdk 1.2.4, which cannot be installed beside 2.x: in a folder of their own, pinned by
hash (foundry_1.txt), kept for the next time. What is no runtime (openai, pydantic, requests) is taken from here.

The SDK asks for the CUDA builds of onnxruntime and onnxruntime-genai, 700 MB more: these are the same versions for the
CPU.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

PINS = Path(__file__).with_suffix(".txt")
OTHER = os.environ.get("FOUNDRY_1", "")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reconciler-tests"  # before tests guard it


def foundry_1() -> str:
    """The folder. Skips the test, with one line, where it cannot be had. FOUNDRY_1 names one with another version."""
    if OTHER:
        return OTHER
    tag = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    final = CACHE / f"foundry-local-1-{tag}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            _install(final)
    return str(final)


def _install(final: Path) -> None:
    work = final.with_suffix(".new")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--upgrade", "--target", str(work), "-r", str(PINS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"foundry-local-sdk 1.2.4 cannot be had here: {reason}")
    work.rename(final)
