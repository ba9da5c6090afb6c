"""Show all machines of a fleet from the reports that they sent: how many are ready for each model, by group; who is
silent for over a day; what each serves and what git wants; who still serves an old release; what gates measured across
machines. REPORTS is where they are: a folder, oci://HOST/REPOSITORY, or the URL of a git repository with #BRANCH.
Receipts of `reconciler import` in a folder count too. With --keys only reports count that their machine has signed.
-o html writes one page that needs no server and asks nobody anything. More: docs/fleet.md
"""

import argparse
import os
from contextlib import closing

from reconciler.cli import options
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.cli.manifests import credentials_of
from reconciler.cli.output import note, show
from reconciler.cli.reports import add_git_files, add_reading, place_to_read, read_settings
from reconciler.domain.errors import UsageError
from reconciler.domain.machine_report import ReportSettings
from reconciler.host.clock import now
from reconciler.machine_reports.keys import KeyFolder, entry_name
from reconciler.operations.fleet import FollowedBranch, ReadFleet, SeenReports, read_clone, read_fleet, read_server
from reconciler.reports.fleet.page import fleet_page
from reconciler.reports.fleet.text import fleet_text
from reconciler.reports.fleet.view import FleetFacts, fleet_view
from reconciler.reports.text import Shown
from reconciler.sources.git.address import Remote


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reports", metavar="REPORTS", nargs="?", help="where they are (default: reports.to)")
    group = parser.add_argument_group("what the machines follow")
    meaning = "URL of the repository, or a clone: how far each machine is behind, rings, and links to edit"
    options.add_setting(group, "--repo", meaning, metavar="URL|DIR")
    options.add_setting(
        group, "--branch", "its branch (default: main; of a clone: what is checked out)", metavar="NAME"
    )
    group.add_argument("--path", default="manifests", metavar="DIR", help="its manifests (default: manifests)")
    add_git_files(group, "REPORTS and --repo")
    group = parser.add_argument_group("whose reports count")
    add_reading(group)
    options.add_flag(group, "--accept-new", "keep the key of a machine that has none there yet: trust on first use")
    group.add_argument(
        "--seen", metavar="FILE", help="remember the newest report of each machine here, against replays"
    )
    group.add_argument("--max-age", type=options.duration, metavar="TIME", help="reports that are older are TooOld")
    parser.add_argument("--group-by", default="", metavar="LABEL", help="columns of the matrix, e.g. site")
    options.add_flag(parser, "--exit-code", "end with 3 where not all is well")
    options.add_output(parser, "text", "json", "html")
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    keys, seen, moment = _keys(arguments, settings), SeenReports(arguments.seen or ""), now()
    branch = _branch(arguments)
    fleet = _read(arguments, settings, keys, seen, moment)
    seen.save(fleet.machines)
    for name in fleet.accepted:
        note(arguments, f"warning: the key of {name} is trusted from now on: {keys.path(name)}")
    facts = FleetFacts(
        machines=fleet.machines,
        problems=fleet.problems,
        commits=branch.commits,
        repository=branch.url,
        branch=branch.name,
        manifests=branch.manifests,
        rollouts=branch.rollouts,
        known=keys.names(),
        missing=keys.names().difference(entry_name(one.report.machine) for one in fleet.machines),
        signed=bool(keys.folder),
        group_by=arguments.group_by,
    )
    view = fleet_view(facts, moment)
    show(view, arguments.output, text=fleet_text, html=_page)
    return PARTLY if arguments.exit_code and not _all_well(view) else OK


def _page(view: Shown) -> str:
    return fleet_page(view).html


def _all_well(view: Shown) -> bool:
    totals = view["totals"]
    return totals["ready"] == totals["machines"] and not view["problems"]


def _settings(arguments: argparse.Namespace) -> ReportSettings:
    settings = read_settings(arguments)
    if settings is None:
        hint = "name a folder, oci://HOST/REPOSITORY, or a git URL with #BRANCH (docs/fleet.md)"
        raise UsageError("expected REPORTS: where the machines' reports are", hint=hint)
    return settings


def _keys(arguments: argparse.Namespace, settings: ReportSettings) -> KeyFolder:
    folder = settings.keys
    if arguments.accept_new and not folder:
        raise UsageError("--accept-new wants a folder for the keys", hint="--keys DIR")
    if folder and not arguments.accept_new and not os.path.isdir(folder):
        raise UsageError(f"--keys: there is no folder {folder}", hint="--accept-new makes one")
    return KeyFolder(folder)


def _read(
    arguments: argparse.Namespace, settings: ReportSettings, keys: KeyFolder, seen: SeenReports, moment: str
) -> ReadFleet:
    with closing(place_to_read(arguments, settings)) as place:
        return read_fleet(
            place, keys, seen=seen.orders, now=moment, longest=arguments.max_age, accept_new=arguments.accept_new
        )


def _branch(arguments: argparse.Namespace) -> FollowedBranch:
    if not arguments.repo:
        return FollowedBranch()
    if os.path.isdir(arguments.repo):
        return read_clone(arguments.repo, arguments.branch or "", arguments.path)
    allow_file = arguments.allow_file or options.files_allowed()
    remote = Remote(arguments.repo, arguments.branch or "main", ".", allow_file=allow_file)
    return read_server(remote, credentials_of(arguments), arguments.path)
