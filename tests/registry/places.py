"""Clients for the registries of the tests."""

from collections.abc import Callable
from pathlib import Path

from reconciler.domain.machine.registries import RegistryAddress
from reconciler.registry.client import RegistryClient
from reconciler.registry.credentials import Login
from reconciler.registry.session import Session
from reconciler.registry.transport import Transport
from tests.registry_server import PASSWORD, USER

REPOSITORY = "models/tiny"


class Pauses(list[float]):
    """Stands in for `time.sleep`: nothing waits, and what would have been waited for is known."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def client_of(
    origin: str,
    *,
    login: bool = False,
    repository: str = REPOSITORY,
    ca_file: Path | str = "",
    pauses: Pauses | None = None,
    sleep: Callable[[float], None] | None = None,
    silence: float = 5.0,
) -> RegistryClient:
    address = RegistryAddress(origin=origin, repository=repository)
    account = Login(USER, PASSWORD) if login else None
    transport = Transport(str(ca_file), silence=silence)
    return RegistryClient(
        Session(address, transport, account, push=True, sleep=sleep or (Pauses() if pauses is None else pauses))
    )
