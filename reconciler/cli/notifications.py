"""`run`'s options for those outside: where the daemon can be asked, whose hooks wake it, and whom it tells."""

from __future__ import annotations

import argparse
import os

from reconciler.cli import configuration
from reconciler.cli.options import environment_of
from reconciler.daemon.hooks import NoSecret, read_secret
from reconciler.daemon.http.listening import DEFAULT, parse_address
from reconciler.daemon.notifications.configuration import CommitStatus, Sink, commit_status, sink
from reconciler.daemon.outlets import Outside
from reconciler.domain.errors import UsageError

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
    "--notify": (
        "URL",
        "webhook that gets a CloudEvent for what matters. Others can see arguments: a secret URL belongs elsewhere",
    ),
    "--notify-secret-file": ("FILE", "secret that those are signed with"),
    "--commit-status": (
        "TYPE:OWNER/NAME",
        "mark the commits of a repository on github, gitlab or gitea with what became of them",
    ),
    "--commit-status-token-file": ("FILE", "token for that"),
    "--commit-status-url": ("URL", "address of that server, unless it is the public one"),
}


def add_outward(parser: argparse.ArgumentParser) -> None:
    title = "others: who may ask (docs/metrics.md), and who is told (docs/notifications.md)"
    group = parser.add_argument_group(title)
    for flag, (metavar, meaning) in _OPTIONS.items():
        variable = environment_of(flag)
        group.add_argument(
            flag,
            metavar=metavar,
            default=configuration.setting(variable) or None,
            help=f"{meaning} (environment: {variable})",
        )


def outside_of(arguments: argparse.Namespace) -> Outside:
    """All checked: a slip of the hand is told before the daemon begins."""
    return Outside(
        address=parse_address(arguments.listen or DEFAULT),
        address_was_chosen=bool(arguments.listen),
        webhook_secret_file=_webhook_secret_file(arguments.webhook_secret_file),
        sinks=_sinks(arguments),
        statuses=_statuses(arguments),
    )


def _webhook_secret_file(given: str | None) -> str:
    if given:
        return _secret_file("--webhook-secret-file", given)
    credential = os.path.join(os.environ.get("CREDENTIALS_DIRECTORY", ""), SYSTEMD_CREDENTIAL)
    return credential if os.path.isabs(credential) and os.path.isfile(credential) else ""


def _sinks(arguments: argparse.Namespace) -> tuple[Sink, ...]:
    if not arguments.notify:
        return ()
    return (
        sink(
            arguments.notify, secret_file=_secret_file("--notify-secret-file", arguments.notify_secret_file)
        ),
    )


def _statuses(arguments: argparse.Namespace) -> tuple[CommitStatus, ...]:
    if not arguments.commit_status:
        return ()
    kind, _, repository = arguments.commit_status.partition(":")
    token_file = _secret_file("--commit-status-token-file", arguments.commit_status_token_file)
    return (commit_status(kind, repository, token_file, arguments.commit_status_url or ""),)


def _secret_file(flag: str, path: str | None) -> str:
    """ "" for none. It must hold a secret now; later it is read anew for each use."""
    if not path:
        return ""
    try:
        read_secret(path)
    except NoSecret as error:
        raise UsageError(f"{flag}: {path}: {error}") from None
    return os.path.abspath(path)
