"""The address of `--listen`: HOST:PORT, a unix socket, or off. Loopback unless another is written out in full."""

import re
import sys
from dataclasses import dataclass
from ipaddress import ip_address

from reconciler.domain.errors import UsageError

DEFAULT = "127.0.0.1:9464"
OFF = "off"
_UNIX = "unix:"
_EXPECTED = "HOST:PORT such as 127.0.0.1:9464 or [::1]:9464, unix:/PATH, or off"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PORT = re.compile(r":\d*\Z")


@dataclass(frozen=True, kw_only=True)
class Address:
    """`path` is set for a unix socket, and then nothing else. `host` is a literal address."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_local(self) -> bool:
        """Only this machine can reach it."""
        return bool(self.path) or self.host == "::1" or self.host.startswith("127.")

    def accepts(self, host: str) -> bool:
        """Whether a request may carry this Host header. A web page whose name points at 127.0.0.1 (DNS rebinding) sends
        that name. On an address that others can reach, any name is allowed."""
        name = _PORT.sub("", host.strip().lower())
        return bool(self.path) or not self.is_local or name in _LOCAL_NAMES | {self.host, f"[{self.host}]"}

    def __str__(self) -> str:
        if self.path:
            return _UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address | None:
    """None for `off`. Raises UsageError, also for host names: what they resolve to can change, also from loopback to a
    public address."""
    if text == OFF:
        return None
    if text.startswith(_UNIX + "/"):
        if sys.platform == "win32":
            raise UsageError("--listen: there are no unix sockets on Windows", hint=f"as in --listen {DEFAULT}")
        return Address(path=text.removeprefix(_UNIX))
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+):(\d{1,5})", text, re.ASCII)
    try:
        if match is None or int(match[2]) > 65535:
            raise ValueError(text)
        host = "127.0.0.1" if match[1] == "localhost" else match[1].strip("[]")
        return Address(host=str(ip_address(host)), port=int(match[2]))
    except ValueError:
        hint = "an address in full, also for everybody: 0.0.0.0:9464"
        raise UsageError(f"--listen: expected {_EXPECTED}, got {text!r}", hint=hint) from None
