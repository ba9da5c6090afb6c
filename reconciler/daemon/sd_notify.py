"""The service manager's protocol, sd_notify(3): lines in one datagram to the socket that $NOTIFY_SOCKET names.

Without that variable nothing is sent. A manager that does not answer is ignored.
"""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Mapping


class Service:
    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog = _watchdog_seconds(environment)
        self._ready = False

    def send(self, *lines: str) -> None:
        if self._address[:1] not in ("/", "@") or sys.platform == "win32":
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.setblocking(False)
            connection.sendto("\n".join(lines).encode(), address)

    def ready(self) -> None:
        """Once, and once more after each `reloading`."""
        if not self._ready:
            self._ready = True
            self.send("READY=1")

    def status(self, text: str) -> None:
        self.send(f"STATUS={' '.join(text.split())}")

    def reloading(self) -> None:
        self._ready = False
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self.send("STOPPING=1", "STATUS=stopping")


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """0.0 without a watchdog."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    usec = environment.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isascii() and usec.isdigit() else 0.0
