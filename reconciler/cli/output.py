"""Data goes to stdout; notes, warnings and errors go to stderr."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from reconciler.domain.errors import Problem
from reconciler.domain.text.escape import for_json, for_terminal
from reconciler.reports.text import Shown, problems_text, terminal_lines


def show(view: Shown, output: str, **renderers: Callable[[Any], str]) -> None:
    """Print a JSON view in the format `output`: as JSON, or by the renderer of that name."""
    sys.stdout.write(json_text(view) if output == "json" else renderers[output](view))


def json_text(view: Shown) -> str:
    return for_json(json.dumps(view, indent=2, ensure_ascii=False)) + "\n"


def say(arguments: argparse.Namespace, *lines: str) -> None:
    if not arguments.quiet:
        sys.stdout.write(terminal_lines(lines))


def note(arguments: argparse.Namespace, line: str) -> None:
    if not arguments.quiet:
        sys.stderr.write(for_terminal(line) + "\n")


def show_problems(problems: Iterable[Problem], level: str = "error") -> None:
    sys.stderr.write(problems_text(problems, level))


def show_resolution(arguments: argparse.Namespace, warnings: Iterable[Problem], problems: Iterable[Problem]) -> None:
    """Print the problems of the manifests, and their warnings unless --quiet."""
    if not arguments.quiet:
        show_problems(warnings, "warning")
    show_problems(problems)
