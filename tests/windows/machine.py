"""A throw-away machine whose reconciler is a Windows program."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ci.windows import Windows, windows_path
from tests.machine import Done, TestMachine

FOLDER = os.environ.get("WINDOWS_FOLDER", "")


@dataclass(frozen=True, kw_only=True)
class WindowsMachine(TestMachine):
    """`run` starts the reconciler of the portable zip, unpacked in `portable`, under Windows; everything else looks at
    the same files from outside."""

    __test__ = False
    portable: Path

    def run(self, *arguments: str, timeout: float = 300.0, **environment: str) -> Done:
        with self.start(*arguments, **environment) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Done(code=process.returncode, out=out.decode(), err=err.decode())

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        """As its launcher starts it: a signal has to reach the interpreter, and Wine hands none on. Its streams are
        pipes: Wine's Python cannot write to a Unix file."""
        return self._started("python/python.exe", "-m", "reconciler", *arguments, **environment)

    def launch(self, *arguments: str) -> Done:
        """By the launcher."""
        with self._started("reconciler.exe", *arguments) as process:
            out, err = process.communicate(timeout=120)
        return Done(code=process.returncode, out=out.decode(), err=err.decode())

    def _started(self, program: str, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            ["wine", str(self.portable / program), *arguments],
            cwd=self.folder / "fleet",
            env=Windows(Path(FOLDER)).environment | self.environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def environment(self) -> dict[str, str]:
        config = self.folder / "machine.yaml"
        return {
            "RECONCILER_ROOT": windows_path(self.root),
            "RECONCILER_CACHE": windows_path(self.cache),
            "RECONCILER_CONFIG": windows_path(config) if config.exists() else "",
        }
