"""A page whose facts a test sets, for the routes and the browser."""

from collections.abc import Mapping

from reconciler.reports.machine.page import machine_page
from reconciler.reports.machine.view import MachineFacts, machine_view
from reconciler.reports.view import View


class FixedPage:
    def __init__(self, facts: MachineFacts) -> None:
        self.show(facts)

    def show(self, facts: MachineFacts) -> None:
        self._view = machine_view(facts)
        self._page = machine_page(self._view)

    def view(self) -> View:
        return self._view

    def html(self) -> tuple[str, str]:
        return self._page.document.html, self._page.document.policy

    def part(self, name: str) -> str | None:
        return self._page.sections.get(name)

    def digests(self) -> Mapping[str, str]:
        return self._page.digests
