"""Options of `reconciler run` that reach outside: the HTTP address, the git server's webhook, and notification sinks.

Each sink describes its own settings (`daemon.notifications.sinks`).
"""

import argparse
import os

from reconciler.cli.options import add_setting
from reconciler.daemon.http.listening import DEFAULT, parse_address
from reconciler.daemon.notifications.notifications import sink_kinds
from reconciler.daemon.running import Endpoints
from reconciler.daemon.secret_file import checked_secret_file

SYSTEMD_CREDENTIAL = "webhook-secret"


def add_endpoints(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("HTTP endpoints (docs/metrics.md) and notifications (docs/notifications.md)")
    meaning = "address for health, metrics and hooks: HOST:PORT, unix:/PATH or off"
    add_setting(group, "--listen", meaning, shown=DEFAULT, metavar="ADDRESS")
    meaning = "secret of the git server's webhook to /hooks/git; without one there are no hooks"
    add_setting(group, "--webhook-secret-file", meaning, metavar="FILE")
    for kind in sink_kinds():
        for one in kind.section.settings.values():
            add_setting(group, one.flag, one.meaning, metavar=one.metavar)


def endpoints_of(arguments: argparse.Namespace) -> Endpoints:
    """Check all of them before the daemon begins. Raises UsageError."""
    given = {f"--{name.replace('_', '-')}": value or "" for name, value in vars(arguments).items()}
    targets = [kind.configure(given) for kind in sink_kinds()]
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
