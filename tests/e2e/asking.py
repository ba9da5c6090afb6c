"""An application that asks a variant's newest release, again and again, while reconciler changes what is served."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.backends.foundry.foundry import Foundry
from tests.machine import TestMachine
from tests.waiting import PATIENCE


class Client:
    """`failures` are requests that were not answered, `answers` are by the release that was asked."""

    def __init__(self, machine: TestMachine, variant: str, question: str) -> None:
        self.answers: list[tuple[str, str]] = []
        self.failures: list[str] = []
        self._machine, self._variant, self._question = machine, variant, question
        self._ended = threading.Event()

    @property
    def releases(self) -> list[str]:
        return list(dict.fromkeys(identity for identity, _ in self.answers))

    def newest(self) -> str:
        ids = [one for one in self._machine.index() if one.rpartition(":")[0] == self._variant]
        return max(ids, key=lambda one: int(one.rpartition(":")[2]))

    def ask(self, runtime: Foundry) -> None:
        try:
            identity = self.newest()
            said = runtime.ask(identity, [("user", self._question)], 16, temperature=0.0).text
            self.answers.append((identity, said))
        except Exception as error:  # noqa: BLE001 - whatever a client sees
            self.failures.append(f"{type(error).__name__}: {error}")

    def run(self) -> None:
        home = self._machine.folder / f"client-of-{self._variant}"
        with Foundry(str(self._machine.cache), scratch=str(home), log=str(home) + ".log") as runtime:
            while not self._ended.is_set():
                self.ask(runtime)
            self.ask(runtime)  # once more, when all is done

    def stop(self) -> None:
        self._ended.set()


@contextmanager
def asking(machine: TestMachine, variant: str, question: str) -> Iterator[Client]:
    """It has its first answer before the block begins, and its last one after it."""
    client = Client(machine, variant, question)
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        while thread.is_alive() and not (client.answers or client.failures):
            thread.join(0.02)
        yield client
    finally:
        client.stop()
        thread.join(2 * PATIENCE)
    assert not thread.is_alive()
