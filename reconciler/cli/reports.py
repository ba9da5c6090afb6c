"""What this machine's configuration says of reports, for the verbs that send or read them."""

import argparse
from urllib.parse import urlsplit

from reconciler.cli.manifests import credentials_of
from reconciler.cli.signing import signing_key
from reconciler.domain.errors import UsageError
from reconciler.domain.machine_report import ReportSettings
from reconciler.engine.machine import Machine
from reconciler.fleet.inventory import Inventory
from reconciler.host import durable
from reconciler.machine_reports.select import is_git
from reconciler.operations.report import Reporting, deliver, marks_of, place_of, signed_report
from reconciler.operations.ring_reader import RingReader, ring_reader
from reconciler.registry.signing_keys import SigningKey
from reconciler.sources.git.runner import Credentials


def reporting_of(arguments: argparse.Namespace, machine: Machine, key: SigningKey | None) -> Reporting | None:
    """None where the configuration names no place. Raises UsageError for one that cannot be."""
    settings = machine.traits.reports
    if settings is None:
        return None
    git = git_credentials(arguments, settings)
    place_of(settings, machine.traits.registries, git).close()
    return Reporting(machine, settings, key, git)


def push_report(arguments: argparse.Namespace, machine: Machine, inventory: Inventory) -> str:
    """Once, now. The name of the place. Nothing is recorded here, because a daemon may hold the lock."""
    settings = machine.traits.reports
    if settings is None:
        hint = "as in reports: {to: oci://ghcr.io/acme/fleet} of its configuration (docs/fleet.md)"
        raise UsageError("this machine has no place for reports", hint=hint)
    folder = machine.layout.at("sources", "reports")
    durable.make_folder(folder)
    place = place_of(settings, machine.traits.registries, git_credentials(arguments, settings), folder)
    try:
        deliver(place, signed_report(inventory, signing_key(arguments))[0], marks_of(inventory))
        return place.name
    finally:
        place.close()


def reader_of(arguments: argparse.Namespace, machine: Machine) -> RingReader | None:
    """Of other machines' reports, for Rollouts; None where the configuration names no place or no keys."""
    settings = machine.traits.reports
    return None if settings is None else ring_reader(machine, git_credentials(arguments, settings))


def git_credentials(arguments: argparse.Namespace, settings: ReportSettings) -> Credentials | None:
    """Those of the followed repository, where the reports go to the same server."""
    repository = getattr(arguments, "repo", None)
    if not repository or not is_git(settings.to):
        return None
    same = _server(repository) == _server(settings.to)
    return credentials_of(arguments) if same else None


def _server(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
