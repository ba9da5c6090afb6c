"""Keep this machine at what the manifests declare: a pass whenever something changes, until it is stopped.

A pass is what `reconciler apply` does once. The daemon makes one at the start, one after every interval and
one at once when a manifest, a declared model folder, a served folder, Foundry's index or a suspension
changes, or on SIGHUP (kill -HUP PID; systemctl reload). It stays in the foreground and logs to stderr, as
JSON unless that is a terminal. It holds the root's lock while it runs; `plan`, `status`, `events`, `drift`,
`suspend` and `resume` work beside it. SIGTERM ends it within ten seconds, a second one at once.
What needs a confirmation is held: stop the daemon and run `reconciler apply --confirm` once.
More: docs/daemon.md
"""

import argparse
import os
from dataclasses import replace

from reconciler.cli import options
from reconciler.cli.manifests import credentials_of, remote_of, require_folder
from reconciler.cli.reports import reader_of, reporting_of
from reconciler.cli.signing import add_signing_key, signing_key
from reconciler.daemon.declarations import Declarations, FolderSource, RepositorySource
from reconciler.daemon.http.listening import DEFAULT, parse_address
from reconciler.daemon.notifications.notifications import sink_kinds
from reconciler.daemon.running import Endpoints, run_daemon
from reconciler.daemon.secret_file import checked_secret_file
from reconciler.domain.errors import UsageError
from reconciler.engine import log

SYSTEMD_CREDENTIAL = "webhook-secret"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser, repository=True)
    options.add_machine(parser)
    meaning = "from the end of a pass to the next, e.g. 30s or 5m, with 10 %% of jitter"
    options.add_setting(parser, "--interval", meaning, default="60s", type=options.duration, metavar="TIME")
    options.add_setting(
        parser,
        "--scrub-period",
        "read every byte of the store and of served models within TIME, slowly, beside the passes; or off",
        default="24h",
        type=options.duration_or_off,
        metavar="TIME",
    )
    options.add_conversions(parser)
    add_signing_key(parser, "sign this machine's reports (docs/fleet.md) with this private key")
    _add_endpoints(parser)


def run(arguments: argparse.Namespace) -> int:
    declarations, endpoints = _declarations(arguments), _endpoints(arguments)
    key = signing_key(arguments)
    log.talk(without=frozenset({"pass.done"}))  # the daemon logs a pass when it did something
    with options.machine_under_lock(arguments, "run") as machine:
        endpoints = replace(endpoints, reporting=reporting_of(arguments, machine, key))
        return run_daemon(
            machine,
            declarations,
            replace(options.pass_options(arguments), reports=reader_of(arguments, machine)),
            interval=arguments.interval,
            endpoints=endpoints,
            scrub_period=arguments.scrub_period,
        )


def _declarations(arguments: argparse.Namespace) -> Declarations:
    """Checked now, so that wrong usage ends the command; later errors do not end the daemon."""
    roots = tuple(arguments.source_root)
    if arguments.repo:
        credentials_of(arguments)
        return RepositorySource(remote_of(arguments), lambda: credentials_of(arguments), arguments.interval, roots)
    require_folder(arguments.path)
    if not os.path.isdir(arguments.path):
        raise UsageError(f"there is no folder {arguments.path}", hint="name it with --path, or follow a --repo")
    return FolderSource(os.path.abspath(arguments.path), roots)


def _add_endpoints(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "HTTP endpoints (docs/machine-page.md, docs/metrics.md) and notifications (docs/notifications.md)"
    )
    meaning = "address for the page, health, metrics and hooks: HOST:PORT, unix:/PATH or off"
    options.add_setting(group, "--listen", meaning, shown=DEFAULT, metavar="ADDRESS")
    meaning = "secret of the git server's webhook to /hooks/git; without one there are no hooks"
    options.add_setting(group, "--webhook-secret-file", meaning, metavar="FILE")
    for kind in sink_kinds():
        for one in kind.section.settings.values():
            options.add_setting(group, one.flag, one.meaning, metavar=one.metavar)


def _endpoints(arguments: argparse.Namespace) -> Endpoints:
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
