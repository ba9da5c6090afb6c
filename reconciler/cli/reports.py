"""Where reports go and come from, for the verbs that send or read them: by this machine's configuration and by options,
which are the same for all that read."""

import argparse
import os
from contextlib import closing
from dataclasses import replace
from urllib.parse import urlsplit

from reconciler.cli import configuration, options
from reconciler.cli.manifests import credentials_of
from reconciler.cli.signing import signing_key
from reconciler.domain.errors import UsageError
from reconciler.domain.machine_report import ReportSettings
from reconciler.engine.machine import Machine
from reconciler.engine.rollouts.ring_reader import RingReader, ring_reader
from reconciler.fleet.inventory import Inventory
from reconciler.host import durable
from reconciler.machine_reports.place import ReportPlace
from reconciler.machine_reports.select import is_git, open_place
from reconciler.operations.report import Reporting, deliver, marks_of, signed_report
from reconciler.registry.signing_keys import SigningKey
from reconciler.sources.git.runner import Credentials


def reporting_of(arguments: argparse.Namespace, machine: Machine, key: SigningKey | None) -> Reporting | None:
    """None where the configuration names no place. Raises UsageError for one that cannot be."""
    settings = machine.traits.reports
    if settings is None:
        return None
    git = git_credentials(arguments, settings)
    open_place(settings, machine.traits.registries, git).close()
    return Reporting(machine, settings, key, git)


def push_report(arguments: argparse.Namespace, machine: Machine, inventory: Inventory) -> str:
    """Once, now. The name of the place. Nothing is recorded here, because a daemon may hold the lock."""
    settings = machine.traits.reports
    if settings is None:
        hint = "as in reports: {to: oci://ghcr.io/acme/fleet} of its configuration (docs/fleet.md)"
        raise UsageError("this machine has no place for reports", hint=hint)
    folder = machine.layout.at("sources", "reports")
    durable.make_folder(folder)
    git = git_credentials(arguments, settings)
    with closing(open_place(settings, machine.traits.registries, git, folder)) as place:
        deliver(place, signed_report(inventory, signing_key(arguments))[0], marks_of(inventory))
        return place.name


_GIT_FILES = {
    "--token-file": "token for https (or RECONCILER_GIT_TOKEN)",
    "--ssh-key": "private key for ssh",
    "--known-hosts": "host keys for ssh",
}


def add_git_files(group: argparse._ActionsContainer, what: str) -> None:
    """Credentials of a git server; `what` they are for."""
    for flag, meaning in _GIT_FILES.items():
        options.add_setting(group, flag, f"{meaning}, for {what}", metavar="FILE")
    options.add_flag(group, "--allow-file", "also allow file URLs")
    group.set_defaults(allowed_signers=None)


def add_reading(group: argparse._ActionsContainer) -> None:
    """Beside the place itself, which is `arguments.reports`."""
    group.add_argument("--keys", metavar="DIR", help="public keys of the machines, NAME.pub (default: reports.keys)")
    group.add_argument("--credentials-file", metavar="FILE", help="account of the registry, as in the configuration")
    group.add_argument("--ca-file", metavar="FILE", help="certificate of a private authority of the registry (PEM)")


def read_settings(arguments: argparse.Namespace) -> ReportSettings | None:
    """Of the command line, else of this machine's configuration; None where neither names a place."""
    known = configuration.traits().reports
    where = arguments.reports or (known.to if known is not None else "")
    if not where:
        return None
    keys = _absolute(arguments.keys) or (known.keys if known is not None else "")
    if known is not None and known.to == where and not (arguments.credentials_file or arguments.ca_file):
        return replace(known, keys=keys, allow_file=known.allow_file or arguments.allow_file)
    return ReportSettings(
        to=where,
        keys=keys,
        credentials_file=_absolute(arguments.credentials_file),
        ca_file=_absolute(arguments.ca_file),
        allow_file=arguments.allow_file,
    )


def place_to_read(arguments: argparse.Namespace, settings: ReportSettings) -> ReportPlace:
    """With the git credentials that the options name. Whoever calls closes it."""
    git = credentials_of(arguments) if is_git(settings.to) else None
    return open_place(settings, configuration.traits().registries, git)


def _absolute(path: str | None) -> str:
    return os.path.abspath(path) if path else ""


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
