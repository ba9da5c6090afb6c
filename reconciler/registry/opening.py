"""Clients for a registry and its mirrors, from what the machine's configuration says of them."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from reconciler.domain.machine.registries import RegistryAddress, RegistrySettings
from reconciler.registry.client import RegistryClient
from reconciler.registry.credentials import logins_of
from reconciler.registry.session import TRIES, Session
from reconciler.registry.transport import SILENCE, Transport

MIRROR_TRIES = 2  # the registry itself is the next one to ask


@dataclass(frozen=True)
class OpenRegistry(AbstractContextManager["OpenRegistry"]):
    """A context manager. `places` are the mirrors, in order, and the registry."""

    registry: RegistryClient
    mirrors: tuple[RegistryClient, ...]

    @property
    def places(self) -> tuple[RegistryClient, ...]:
        return (*self.mirrors, self.registry)

    def __exit__(self, *_: object) -> None:
        self.registry.session.close()


def open_registry(
    settings: RegistrySettings,
    *,
    push: bool = False,
    tries: int = TRIES,
    silence: float = SILENCE,
    receive_buffer: int = 0,
    environment: Mapping[str, str] = os.environ,
) -> OpenRegistry:
    """Nothing is asked yet. Raises RegistryFailed where the password cannot be read."""
    transport, logins = (
        Transport(settings.ca_file, silence=silence, receive_buffer=receive_buffer),
        logins_of(settings, environment),
    )

    def client(address: RegistryAddress, tries: int) -> RegistryClient:
        login = logins.get(address.host)
        return RegistryClient(Session(address, transport, login, push=push, tries=tries))

    mirrors = tuple(client(address, MIRROR_TRIES) for address in settings.mirrors)
    return OpenRegistry(client(settings.address, tries), mirrors)
