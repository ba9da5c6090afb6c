"""Make this machine's report, sign it, and send it to the place that its configuration names (docs/fleet.md)."""

from contextlib import closing
from dataclasses import replace

from reconciler.domain.machine_report import ReportSettings
from reconciler.engine.machine import Machine, open_machine
from reconciler.fleet.inventory import Inventory
from reconciler.fleet.travelling import fingerprint, report_document
from reconciler.host import durable
from reconciler.host.clock import now as time_now
from reconciler.host.clock import unix
from reconciler.machine_reports.folder import ENDING
from reconciler.machine_reports.keys import entry_name
from reconciler.machine_reports.place import ReportPlace, Sent, refusal_mark
from reconciler.machine_reports.select import open_place
from reconciler.machine_reports.statement import sign_report
from reconciler.operations.inventory import take_inventory
from reconciler.registry.signing_keys import SigningKey
from reconciler.sources.git.runner import Credentials
from reconciler.state.progress import Reported, report_progress


class Reporting:
    """Of one machine. `git` has what the followed repository is read with, where the place is on the same server and
    `settings` names no token and no key. A report is made from a machine that is opened anew, so it may be called
    beside the passes."""

    def __init__(
        self, machine: Machine, settings: ReportSettings, key: SigningKey | None, git: Credentials | None = None
    ) -> None:
        self._machine, self._settings, self._key = machine, settings, key
        self._git = git
        self.to = settings.to
        self._progress = report_progress(machine.layout)

    def last_sent(self) -> float:
        """Seconds since 1970; 0 for never, or to another place."""
        return unix(self.delivery().when) or 0.0

    def delivery(self) -> Reported:
        """When a report arrived last, and why none does now."""
        return self._progress.read().of(self.to)

    def failed(self, why: str) -> None:
        """For `status` and others: that no report arrives, since when, and why. Written once for each cause."""
        held = self.delivery()
        if held.why != why:
            self._progress.write(replace(held, why=why, failing_since=held.failing_since or time_now()))

    def send(self, *, unchanged: bool) -> int:
        """The bytes that went; 0 where the last report said the same and `unchanged` ones need not go. Raises
        ReconcilerError."""
        machine = self._machine
        inventory = take_inventory(open_machine(machine.layout.root, machine.cache, machine.traits))
        held, said = self.delivery(), fingerprint(inventory)
        if not unchanged and held.said == said:
            return 0
        sent, counter = signed_report(inventory, self._key, above=held.counter)
        marks = marks_of(inventory)
        # The counter first: a report with the same one and another content is never sent. The marks too: what a crash
        # leaves in the place is removed later.
        left = tuple(dict.fromkeys((*held.marks, *marks)))
        self._progress.write(replace(held, counter=counter, marks=left))
        with closing(self._opened()) as place:
            deliver(place, sent, marks, held.marks)
        self._progress.write(Reported(counter=counter, said=said, to=self.to, when=time_now(), marks=marks))
        return len(sent.data)

    def _opened(self) -> ReportPlace:
        folder = self._machine.layout.at("sources", "reports")
        durable.make_folder(folder)
        return open_place(self._settings, self._machine.traits.registries, self._git, folder)


def reported_of(machine: Machine) -> Reported | None:
    """How reports of this machine fare; None where its configuration names no place."""
    settings = machine.traits.reports
    return None if settings is None else report_progress(machine.layout).read().of(settings.to)


def marks_of(inventory: Inventory) -> tuple[str, ...]:
    """What leads others to this report: a mark for each release that git wants and this machine refuses."""
    refused = dict.fromkeys(one.refused_now for one in inventory.summary if one.refused_now)
    return tuple(refusal_mark(release, entry_name(inventory.machine)) for release in refused)


def deliver(place: ReportPlace, sent: Sent, marks: tuple[str, ...], before: tuple[str, ...] = ()) -> None:
    """The report first: a mark must never lead to a report that does not refuse yet. `before` are the marks that an
    earlier report left there."""
    place.put(sent)
    place.mark(marks)
    place.unmark(set(before).difference(marks))


def signed_report(inventory: Inventory, key: SigningKey | None, *, above: int = 0) -> tuple[Sent, int]:
    """Ready to go, and its counter. Seconds since 1970, so that a machine whose records are lost goes on counting."""
    counter = max(above + 1, int(unix(inventory.generated) or 0))
    said, data = report_document(inventory, counter)
    entry = entry_name(inventory.machine)
    signature = sign_report(data, entry + ENDING, said, key) if key is not None else None
    return Sent(entry=entry, data=data, signature=signature), counter
