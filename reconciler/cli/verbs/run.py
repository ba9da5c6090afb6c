"""`reconciler run`: the daemon, in the foreground, as service managers want it."""

from __future__ import annotations

import argparse
import os

from reconciler.cli import configuration, options
from reconciler.cli.manifests import require_folder
from reconciler.cli.notifications import add_endpoints, endpoints_of
from reconciler.daemon.declarations import Declarations, FolderSource, RepositorySource
from reconciler.daemon.running import run_daemon
from reconciler.domain.errors import UsageError
from reconciler.engine import log
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Keep this machine at what the manifests declare: a pass whenever something changes, until it is stopped.\n"
        "\n"
        "A pass is what `reconciler apply` makes once. One is made at the start, then after every interval, and at\n"
        "once when a manifest, a model folder that one names, a served folder, Foundry's index or a suspension\n"
        "changes, or on SIGHUP (kill -HUP PID; systemctl reload). It stays in the foreground and logs to stderr, as\n"
        "JSON when that is no terminal. While it runs it holds the root's lock; `plan`, `status`, `events`, `drift`,\n"
        "`suspend` and `resume` work beside it. SIGTERM ends it within ten seconds, the second one at once.\n"
        "What wants a confirmation is held back: stop it and run `reconciler apply --confirm` once.\n"
        "More: docs/daemon.md"
    )
    options.add_manifests(parser)
    options.add_repository(parser)
    options.add_machine(parser)
    parser.add_argument(
        "--interval",
        type=options.duration,
        default=configuration.setting("RECONCILER_INTERVAL", "60s"),
        metavar="TIME",
        help="from the end of a pass to the next, e.g. 30s or 5m; a tenth more or less, so that machines do not "
        "ask together (default: 60s)",
    )
    parser.add_argument(
        "--scrub-period",
        type=options.duration_or_off,
        default=configuration.setting("RECONCILER_SCRUB_PERIOD", "24h"),
        metavar="TIME",
        help="read every byte of the store and of what is served within TIME, slowly, beside the passes; or off "
        "(default: 24h; environment: RECONCILER_SCRUB_PERIOD)",
    )
    options.add_conversions(parser)
    add_endpoints(parser)


def run(arguments: argparse.Namespace) -> int:
    declarations, endpoints = _declarations(arguments), endpoints_of(arguments)
    log.talk(without=frozenset({"pass.done"}))  # the daemon says when a pass was worth a line
    chosen = Options(
        jobs=arguments.jobs,
        conversion_timeout=arguments.conversion_timeout,
        conversion_memory=arguments.conversion_memory,
        cage=arguments.cage,
        hf_token_file=options.token_file_of(arguments),
    )
    root, cache = options.root_of(arguments), options.cache_of(arguments)
    with locked_machine(root, cache, command="run", traits=configuration.traits()) as machine:
        return run_daemon(
            machine,
            declarations,
            chosen,
            interval=arguments.interval,
            endpoints=endpoints,
            scrub_period=arguments.scrub_period,
        )


def _declarations(arguments: argparse.Namespace) -> Declarations:
    """A slip of the hand is told now; what goes wrong later, the loop lives with."""
    roots = tuple(arguments.source_root)
    if arguments.repo:
        from reconciler.cli.repository import credentials_of, remote_of
        from reconciler.operations.repository import Branch

        credentials_of(arguments)
        branch = Branch(
            remote_of(arguments), lambda: credentials_of(arguments), roots, patience=2 * arguments.interval
        )
        return RepositorySource(branch, arguments.interval)
    require_folder(arguments.path)
    if not os.path.isdir(arguments.path):
        raise UsageError(
            f"there is no folder {arguments.path}", hint="name it with --path, or follow a --repo"
        )
    return FolderSource(os.path.abspath(arguments.path), roots)
