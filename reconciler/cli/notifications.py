"""`run`'s options for the outside: where it answers HTTP, whose hooks wake it, and which sinks it notifies.

The options of a sink are described in its own module (`daemon.notifications.sinks`).
"""

from __future__ import annotations

import argparse
import os

from reconciler.cli import configuration
from reconciler.cli.options import environment_of
from reconciler.daemon.endpoints import Endpoints
from reconciler.daemon.http.listening import DEFAULT, parse_address
from reconciler.daemon.notifications.notifications import sink_kinds
from reconciler.daemon.secret_file import checked_secret_file

SYSTEMD_CREDENTIAL = "webhook-secret"

_OPTIONS = {
    "--listen": (
        "ADDRESS",
        "where health, metrics and hooks are answered: HOST:PORT, unix:/PATH or off (default: 127.0.0.1:9464)",
    ),
    "--webhook-secret-file": (
        "FILE",
        "secret of the git server's webhook to /hooks/git; without one there are no hooks",
    ),
}


def add_endpoints(parser: argparse.ArgumentParser) -> None:
    title = "HTTP (docs/metrics.md) and notifications (docs/notifications.md)"
    group = parser.add_argument_group(title)
    options = dict(_OPTIONS)
    for kind in sink_kinds():
        options |= kind.options
    for flag, (metavar, meaning) in options.items():
        variable = environment_of(flag)
        group.add_argument(
            flag,
            metavar=metavar,
            default=configuration.setting(variable) or None,
            help=f"{meaning} (environment: {variable})",
        )


def endpoints_of(arguments: argparse.Namespace) -> Endpoints:
    """Everything is checked here, before the daemon begins. Raises UsageError."""
    given = {f"--{name.replace('_', '-')}": value or "" for name, value in vars(arguments).items()}
    targets = [kind.configure({flag: given[flag] for flag in kind.options}) for kind in sink_kinds()]
    return Endpoints(
        address=parse_address(arguments.listen or DEFAULT),
        address_was_chosen=bool(arguments.listen),
        webhook_secret_file=_webhook_secret_file(arguments.webhook_secret_file),
        targets=tuple(target for target in targets if target is not None),
    )


def _webhook_secret_file(given: str | None) -> str:
    if given:
        return checked_secret_file("--webhook-secret-file", given)
    credential = os.path.join(os.environ.get("CREDENTIALS_DIRECTORY", ""), SYSTEMD_CREDENTIAL)
    return credential if os.path.isabs(credential) and os.path.isfile(credential) else ""
