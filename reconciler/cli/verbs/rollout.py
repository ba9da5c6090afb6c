"""How far the releases of a Rollout have come, and a hand on it. The machines decide from git and from each other's
reports, so whatever a person decides is a change in git: each action writes one commit in this clone, which you push;
with --dry-run it prints the patch.

    status [NAME]    each ring: who is in it, who serves the release, who refuses it, what it waits for
    pause NAME       no machine gets a new release, whichever ring it is in; what serves goes on
    resume NAME      ends a pause
    promote NAME     the release goes on without waiting: to all, or as far as --ring; also one that stopped
    abort NAME       the release goes no further (take back what serves it already by reverting its commit)

promote and abort are about a release by its digest: --release, or what the reports say that the machines want.
"""

import argparse
import os
import sys
from contextlib import closing
from functools import partial

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.manifests import load_folder
from reconciler.cli.output import say, show, show_problems
from reconciler.cli.reports import add_git_files, add_reading, place_to_read, read_settings
from reconciler.domain.errors import ReconcilerError, UsageError
from reconciler.domain.rollout import Abortion, Promotion, Rollout
from reconciler.domain.text.quoting import nearest
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.rollouts.edit import Item, with_flag, with_item
from reconciler.operations.rollout import (
    Edit,
    Edited,
    FleetReports,
    candidates,
    commit,
    edited,
    find,
    read_fleet,
    status,
)
from reconciler.reports.rollout import rollout_text, rollout_view

ACTIONS = ("status", "pause", "resume", "promote", "abort")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("name", metavar="NAME", nargs="?", help="the Rollout (for status: default all)")
    options.add_manifests(parser)
    group = parser.add_argument_group("reports, for status, promote and abort")
    group.add_argument(
        "--reports",
        metavar="PLACE",
        help="a folder, oci://HOST/REPOSITORY or a git URL with #BRANCH (default: `reports` of the configuration)",
    )
    add_reading(group)
    add_git_files(group, "a git URL of --reports")
    parser.add_argument("--model", metavar="MODEL", help="promote, abort: the release of this model alone")
    parser.add_argument("--release", metavar="DIGEST", action="append", default=[], help="sha256:...; repeatable")
    parser.add_argument("--ring", metavar="RING", help="promote: the last ring that gets it at once (default: all)")
    parser.add_argument("--reason", metavar="TEXT", help="pause, abort: why, for the commit and for people")
    options.add_flag(parser, "--dry-run", "print the patch and change nothing")
    options.add_output(parser, "text", "json")
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    parsed = load_folder(arguments)
    if arguments.action == "status":
        return _status(arguments, parsed)
    if not arguments.name:
        raise UsageError(f"rollout {arguments.action} wants the name of a Rollout")
    rollout = find(parsed, arguments.name)
    if rollout.broken:
        show_problems([one for one in parsed.problems if one.file == rollout.file])
        return ERROR
    return _written(arguments, edited(rollout, _edits(arguments, parsed, rollout)))


def _status(arguments: argparse.Namespace, parsed: Parsed) -> int:
    fleet = _fleet(arguments)
    if fleet is None:
        say(arguments, "no place of reports is known: --reports PLACE --keys DIR, or `reports` of the configuration")
    found = status(parsed, fleet, [arguments.name] if arguments.name else [])
    show(rollout_view(found, fleet.doubted if fleet else ()), arguments.output, text=rollout_text)
    return ERROR if any(rollout.broken for rollout, _ in found) else OK


def _fleet(arguments: argparse.Namespace) -> FleetReports | None:
    """Raises UsageError where a place is named without the keys that make its reports count."""
    settings = read_settings(arguments)
    if settings is None:
        return None
    if not settings.keys or not os.path.isdir(settings.keys):
        hint = "a report counts by its machine's key: --keys DIR, with a file NAME.pub for each machine"
        raise UsageError(f"there is no folder of keys {settings.keys}".rstrip(), hint=hint)
    with closing(place_to_read(arguments, settings)) as place:
        return read_fleet(place, settings.keys)


def _edits(arguments: argparse.Namespace, parsed: Parsed, rollout: Rollout) -> list[Edit]:
    if arguments.action in ("pause", "resume"):
        return [partial(with_flag, name=rollout.name, field="paused", value=arguments.action == "pause")]
    if arguments.ring and arguments.ring not in [ring.name for ring in rollout.rings]:
        known = [ring.name for ring in rollout.rings]
        raise UsageError(f"there is no ring {arguments.ring}", hint=nearest(arguments.ring, known) or ", ".join(known))
    releases = arguments.release or _wanted(arguments, parsed, rollout)
    items: list[Item]
    if arguments.action == "promote":
        field, items = "promoted", [Promotion(release=one, ring=arguments.ring or "") for one in releases]
    else:
        field, items = "aborted", [Abortion(release=one, reason=arguments.reason or "aborted") for one in releases]
    return [partial(with_item, name=rollout.name, field=field, item=one) for one in items]


def _wanted(arguments: argparse.Namespace, parsed: Parsed, rollout: Rollout) -> tuple[str, ...]:
    fleet = _fleet(arguments)
    ((_, found),) = status(parsed, fleet, [rollout.name])
    releases = candidates(found, arguments.model or "")
    if not releases:
        hint = "`reconciler rollout status` shows the releases that reports name; --release sha256:... names one"
        raise UsageError("no release of it is on its way, as far as reports say", hint=hint)
    return releases


def _written(arguments: argparse.Namespace, change: Edited) -> int:
    if change.after == change.before:
        say(arguments, f"{change.file} says so already")
        return OK
    if arguments.dry_run:
        sys.stdout.write(change.patch)
        return OK
    try:
        made = commit(change, _message(arguments))
    except ReconcilerError as error:
        error.hint = error.hint or "--dry-run prints the change as a patch"
        raise
    say(arguments, f"{change.file}: commit {made}; push it, and each machine goes by it")
    return OK


def _message(arguments: argparse.Namespace) -> str:
    return f"rollout {arguments.name}: {arguments.action}{f': {arguments.reason}' if arguments.reason else ''}"
