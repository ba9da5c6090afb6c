"""Passwords for registries, from a file or an environment variable of this machine: `user:password`, or the JSON of
`docker login` and of Kubernetes' pull secrets (`auths` by host). A file that belongs to no configured registry counts
as that JSON alone. They are shown in no message, not even in one about what is wrong with them.
"""

import base64
import binascii
import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.domain.errors import RegistryFailed
from reconciler.domain.machine.registries import RegistryAddress, RegistrySettings
from reconciler.host.reading import read_trusted

LIMIT = 64 << 10
_MISFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, binascii.Error)
_HINT = "expected one line `user:password`, or the JSON that `docker login` writes, with the password in it"
_HINT_OF_MANY = "expected the JSON that `docker login` writes (`auths`, by host), with the password in it"


@dataclass(frozen=True)
class Login:
    user: str
    password: str = field(repr=False)

    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def logins_of(settings: RegistrySettings, environment: Mapping[str, str] = os.environ) -> dict[str, Login]:
    """By host. One line is for the registry alone; the JSON form may also know its mirrors."""
    where, text = _given(settings, environment)
    if not where:
        return {}
    is_docker = text.startswith("{")
    # guard: a password that names no host is for a configured registry
    if settings.of_many and not is_docker:
        raise _refused(f"{where} does not say which host its password is for", settings)
    try:
        found = _of_docker(json.loads(text)) if is_docker else {settings.address.host: _login(text)}
    except _MISFORMED:
        raise _refused(f"{where} holds no password", settings) from None
    return {host: login for host, login in found.items() if _may_go_to(host, settings)}


def secrets_of(settings: RegistrySettings, environment: Mapping[str, str] = os.environ) -> set[str]:
    """Every password that is given with them, also those for other hosts, in each form that it travels in."""
    return secrets_in(_given(settings, environment)[1])


def secrets_in(text: str) -> set[str]:
    """The same of the text of such a file. Nothing is refused: what is not understood is a secret as it stands."""
    found = {line.strip() for line in text.splitlines()}
    try:
        entries = list(json.loads(text)["auths"].values()) if text.startswith("{") else [{"auth": _encoded(text)}]
    except _MISFORMED:
        return found
    for entry in entries:
        with contextlib.suppress(*_MISFORMED):
            found |= {value for value in entry.values() if isinstance(value, str)}
            login = _login(base64.b64decode(entry["auth"], validate=True).decode())
            found |= {login.password, login.basic()[6:]}
    return found


def _encoded(text: str) -> str:
    return base64.b64encode(text.strip().encode()).decode()


def _given(settings: RegistrySettings, environment: Mapping[str, str]) -> tuple[str, str]:
    """Where it is, in words, and what is there."""
    if name := settings.credentials_variable:
        return f"the environment variable {name}", environment.get(name, "").strip()
    if path := settings.credentials_file:
        try:
            return path, read_trusted(path, LIMIT).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise _refused(f"{path}: {reason}", settings) from None
    return "", ""


def _refused(message: str, settings: RegistrySettings) -> RegistryFailed:
    hint = _HINT_OF_MANY if settings.of_many else _HINT
    return RegistryFailed(message, hint=hint, code="RegistryCredentials")


def _login(text: str) -> Login:
    user, colon, password = text.partition(":")
    if not (user and colon and password and text.isprintable()):
        raise ValueError
    return Login(user, password)


def _of_docker(document: dict[str, dict[str, dict[str, str]]]) -> dict[str, Login]:
    """Hosts whose password another program keeps (`credsStore`) are left out."""
    return {
        _host(name): _login(base64.b64decode(entry["auth"], validate=True).decode())
        for name, entry in document["auths"].items()
        if entry.get("auth")
    }


def _host(name: str) -> str:
    """Docker Hub's is `https://index.docker.io/v1/` in that file, whatever it is called elsewhere."""
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "registry-1.docker.io" if host in ("index.docker.io", "docker.io") else host


def _may_go_to(host: str, settings: RegistrySettings) -> bool:
    """Only to places of this registry, and over a connection that others cannot read."""
    places: tuple[RegistryAddress, ...] = (settings.address, *settings.mirrors)
    # guard: no password over a readable connection
    return any(place.host == host and place.is_private for place in places)
