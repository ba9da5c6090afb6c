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

from reconciler.cli import options
from reconciler.cli.manifests import credentials_of, remote_of, require_folder
from reconciler.cli.notifications import add_endpoints, endpoints_of
from reconciler.daemon.declarations import Declarations, FolderSource, RepositorySource
from reconciler.daemon.running import run_daemon
from reconciler.domain.errors import UsageError
from reconciler.engine import log


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
    add_endpoints(parser)


def run(arguments: argparse.Namespace) -> int:
    declarations, endpoints = _declarations(arguments), endpoints_of(arguments)
    log.talk(without=frozenset({"pass.done"}))  # the daemon logs a pass when it did something
    with options.machine_under_lock(arguments, "run") as machine:
        return run_daemon(
            machine,
            declarations,
            options.pass_options(arguments),
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
