"""Compare the manifests of two commits, and show what each machine of the fleet would do. Reads git only."""

import argparse
import os
import posixpath
from typing import Any

from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import DIFFERS, OK, TROUBLE
from reconciler.cli.main import say_error
from reconciler.cli.output import show
from reconciler.domain.errors import ReconcilerError, UsageError
from reconciler.domain.plain_data import as_dict
from reconciler.host.clock import now
from reconciler.operations.compare import compare_commits, outlooks
from reconciler.reports.diff_render import diff_github, diff_text
from reconciler.reports.diff_view import diff_view, fleet_view, rollout_rows
from reconciler.reports.pull_request import diff_comment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", metavar="BASE", help="a commit, branch or tag; or BASE...HEAD: from their merge base")
    parser.add_argument("head", metavar="HEAD", nargs="?", help="what to compare it with (default: HEAD)")
    meaning = "folder with the manifests, from the top of the repository"
    options.add_setting(parser, "--path", meaning, default="manifests", metavar="DIR")
    parser.add_argument(
        "--repo-dir", metavar="DIR", default=".", help="a local clone (default: the one that holds this folder)"
    )
    parser.add_argument(
        "--source-root",
        metavar="DIR",
        action="append",
        default=[],
        help="allow model folders below DIR, as the machines do; it need not exist here; repeatable",
    )
    parser.add_argument(
        "--against",
        metavar="DIR",
        help="folder with inventories (`reconciler inventory`): also show what each of these machines will do",
    )
    options.add_policies(parser)
    options.add_output(parser, "text", "json", "markdown", "github")
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    try:
        view = _view(arguments)
    except UsageError:
        raise
    except ReconcilerError as error:  # as diff(1) does: 1 means that they differ, 2 is an error
        say_error(error)
        return TROUBLE
    show(view, arguments.output, text=diff_text, markdown=diff_comment, github=diff_github)
    if view["problems"]:
        return TROUBLE
    return DIFFERS if view["differs"] else OK


def _view(arguments: argparse.Namespace) -> dict[str, Any]:
    base, head, parted = _revisions(arguments)
    roots = tuple(os.path.normpath(root) for root in arguments.source_root)
    path, exact = _inside(arguments.path), bool(arguments.against)
    policies = configuration.policies_of(arguments.policies)
    comparison = compare_commits(
        arguments.repo_dir, base, head, path, roots=roots, parted=parted, exact=exact, policies=policies
    )
    view: dict[str, Any] = diff_view(comparison)
    if arguments.against:
        found, problems = outlooks(comparison, arguments.against, now())
        view["machines"] = fleet_view(found, comparison.sources)
        view["rollouts"] = rollout_rows(comparison, found)
        view["problems"] += [as_dict(problem) | {"new": True} for problem in problems]
    return view


def _revisions(arguments: argparse.Namespace) -> tuple[str, str, bool]:
    if arguments.head is None and "..." in arguments.base:
        base, _, head = arguments.base.partition("...")
        return base or "HEAD", head or "HEAD", True
    old, dots, new = arguments.base.partition("..")
    if dots:  # git reads `a..b` as two commits; the name of one has no two dots
        old, new = old or "HEAD", new.lstrip(".") or "HEAD"
        hint = f"`{old}...{new}` compares with the merge base, `{old} {new}` the two commits"
        raise UsageError(f"expected a commit, branch or tag, got {arguments.base}", hint=hint)
    return arguments.base, arguments.head or "HEAD", False


def _inside(path: str) -> str:
    """Normalised, from the top of the repository."""
    inside = posixpath.normpath(path.replace(os.sep, "/"))
    if posixpath.isabs(inside) or inside.split("/")[0] == "..":
        raise UsageError(f"--path: expected a folder inside the repository, got {path}")
    return "" if inside == "." else inside
